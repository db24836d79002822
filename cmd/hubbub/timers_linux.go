package main

import (
	"os"
	"runtime"
	"syscall"
)

// How late the kernel may wake a thread that sleeps for a time, in nanoseconds.
const (
	ordinarySlack = 50_000 // where nobody has said anything else
	wideSlack     = 1_000_000
)

// widenTimers lets the system wake sleeping threads up to a millisecond late, unless
// whoever started us has chosen already (TimerSlackNSec= of systemd). A process that
// has little to do spends a third of its processor time on the watchdog of Go's
// scheduler, which sleeps for 20 µs again and again whenever anything runs; it is as
// good once in a millisecond, and no time we measure or wait for is as short as that.
//
// A thread inherits the setting from the one that makes it, and the watchdog is there
// before we are: so the program begins once more, as the same process.
func widenTimers() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_TIMERSLACK, 0, 0)
	if errno != 0 || slack != ordinarySlack {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		return
	}
	if _, _, errno = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_TIMERSLACK, wideSlack, 0); errno == 0 {
		syscall.Exec(exe, os.Args, os.Environ()) // if it fails all goes on as it is
	}
}
