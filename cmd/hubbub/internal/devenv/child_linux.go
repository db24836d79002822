package devenv

import "syscall"

// childAttr keeps a child out of our process group, so that a Ctrl-C meant for
// us does not reach it, and lets the kernel kill it should we die.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
