package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const timersTrail = "HUBBUB_TEST_TIMERS_TRAIL"

// In the process that the test below starts: what a provider does first, and what
// came of it. Each beginning leaves its process number in the environment.
func init() {
	trail, asked := os.LookupEnv(timersTrail)
	if !asked {
		return
	}
	trail = fmt.Sprintf("%s%d,", trail, os.Getpid())
	os.Setenv(timersTrail, trail)
	widenTimers()
	slack, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_TIMERSLACK, 0, 0)
	fmt.Println(slack, trail, strings.Join(os.Args[1:], "+"))
	os.Exit(0)
}

// TestWidenTimers has a process widen its timers: it begins once more, as the same
// process with the same arguments.
func TestWidenTimers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "serve", "x")
	cmd.Env = append(os.Environ(), timersTrail+"=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if want := fmt.Sprintf("%d %d,%d, serve+x\n", wideSlack, pid, pid); string(out) != want {
		t.Errorf("the process said %q, not %q", out, want)
	}
}
