package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine is what the figures of one machine depend on most.
type machine struct {
	CPUs      int     `json:"cpus"`
	Load      string  `json:"load"` // the three averages at the start
	SyncGrows spread  `json:"sync_growing_ms"`
	SyncSame  spread  `json:"sync_in_place_ms"`
	WakeWarm  spread  `json:"hop_awake_us"`
	WakeCold  spread  `json:"hop_asleep_us"`
	IdleShare float64 `json:"idle_share"`
}

const (
	syncs      = 1000
	syncBytes  = 512
	hops       = 2000
	coldHops   = 300
	coldPause  = 2 * time.Millisecond
	echoArg    = "echo-for-bench"
	idleWanted = 0.9
)

func measureMachine(ctx context.Context, dir string, quiet time.Duration) (m machine, err error) {
	m.CPUs = runtime.NumCPU()
	m.IdleShare = waitIdle(ctx, quiet)
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	if m.SyncGrows, err = syncTimes(filepath.Join(dir, "grows"), false); err != nil {
		return m, err
	}
	if m.SyncSame, err = syncTimes(filepath.Join(dir, "same"), true); err != nil {
		return m, err
	}
	if m.WakeWarm, err = hopTimes(hops, 0); err != nil {
		return m, err
	}
	m.WakeCold, err = hopTimes(coldHops, coldPause)
	return m, err
}

// syncTimes writes 512 octets and waits until they are on disk, again and again,
// at the end of a file or over what it holds already.
func syncTimes(file string, inPlace bool) (spread, error) {
	f, err := os.Create(file)
	if err != nil {
		return spread{}, err
	}
	defer f.Close()
	block := make([]byte, syncBytes)
	if inPlace {
		if _, err := f.Write(make([]byte, syncs*syncBytes)); err != nil {
			return spread{}, err
		}
		if err := f.Sync(); err != nil {
			return spread{}, err
		}
	}
	took := make([]time.Duration, syncs)
	for i := range took {
		began := time.Now()
		if _, err := f.WriteAt(block, int64(i)*syncBytes); err != nil {
			return spread{}, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return spread{}, err
		}
		took[i] = time.Since(began)
	}
	return spreadOf(took, time.Millisecond), nil
}

// hopTimes passes an octet to another process and back, n times with a pause
// between. Half of the time is one hop: to wake a process that waits.
func hopTimes(n int, pause time.Duration) (spread, error) {
	self, err := os.Executable()
	if err != nil {
		return spread{}, err
	}
	var there, back [2]int // the read end, the write end
	for _, p := range []*[2]int{&there, &back} {
		if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
			return spread{}, err
		}
		defer syscall.Close(p[0])
		defer syscall.Close(p[1])
	}
	dup := func(fd int) *os.File {
		d, _ := syscall.Dup(fd)
		return os.NewFile(uintptr(d), "pipe")
	}
	in, out := dup(there[0]), dup(back[1])
	cmd := exec.Command(self, echoArg)
	cmd.Stdin, cmd.Stdout = in, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		return spread{}, err
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := make([]time.Duration, 0, n)
	var b [1]byte
	for i := range n + 10 {
		time.Sleep(pause)
		began := time.Now()
		if _, err := syscall.Write(there[1], b[:]); err != nil {
			return spread{}, err
		}
		if _, err := syscall.Read(back[0], b[:]); err != nil {
			return spread{}, err
		}
		if i >= 10 { // the first ones start the process
			took = append(took, time.Since(began)/2)
		}
	}
	return spreadOf(took, time.Microsecond), nil
}

// echo is the other process of hopTimes. It reads and writes without Go's poller,
// so that the kernel's part is all there is.
func echo() {
	runtime.LockOSThread()
	var b [1]byte
	for {
		if n, err := syscall.Read(0, b[:]); n != 1 || err != nil {
			return
		}
		if _, err := syscall.Write(1, b[:]); err != nil {
			return
		}
	}
}

// idle is the share of the processors that nobody used during d.
func idle(d time.Duration) float64 {
	idle0, all0 := cpuTicks()
	time.Sleep(d)
	idle1, all1 := cpuTicks()
	return float64(idle1-idle0) / float64(max(1, all1-all0))
}

func cpuTicks() (idle, all int) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(line)[1:] {
		n, _ := strconv.Atoi(f)
		if i < 8 { // guests are in user already
			all += n
		}
		if i == 3 || i == 4 {
			idle += n
		}
	}
	return idle, all
}

// waitIdle waits until the machine was idle for a second, at most for d, and
// returns how idle it was.
func waitIdle(ctx context.Context, d time.Duration) float64 {
	deadline := time.Now().Add(d)
	for {
		share := idle(time.Second)
		if share >= idleWanted || time.Now().After(deadline) || ctx.Err() != nil {
			return share
		}
	}
}

// ownCPU is the processor time that this process has taken.
func ownCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
