//go:build unix && !linux

package devenv

import "syscall"

// childAttr keeps a child out of our process group, so that a Ctrl-C meant for
// us does not reach it. Other systems than Linux leave it running should we be
// killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
