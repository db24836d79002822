package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// measuring is what a provider is asked to tell of itself by measurements.
type measuring struct {
	profile string // file for a CPU profile of the whole run; what the heap held last goes beside it
	stats   string // file that says every second what the runtime holds
}

func (m *measuring) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.profile, "cpuprofile", "", "write a CPU profile of the whole run to this file, and what the heap held last to FILE.heap.pprof beside it")
	cmd.Flags().StringVar(&m.stats, "statsfile", "", "write heap and goroutines to this file every second")
	cmd.Flags().MarkHidden("cpuprofile")
	cmd.Flags().MarkHidden("statsfile")
}

// start begins; what it returns ends it.
func (m *measuring) start() (stop func(), err error) {
	ended := make(chan struct{})
	if m.stats != "" {
		go m.tell(ended)
	}
	stop = func() { close(ended) }
	if m.profile == "" {
		return stop, nil
	}
	f, err := os.Create(m.profile)
	if err != nil {
		stop()
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		stop()
		return nil, err
	}
	return func() {
		close(ended)
		pprof.StopCPUProfile()
		f.Close()
		m.heap()
	}, nil
}

// heap writes what the heap held at the last collection, which is to say before
// the provider gave up what it had.
func (m *measuring) heap() {
	f, err := os.Create(strings.TrimSuffix(m.profile, ".pprof") + ".heap.pprof")
	if err != nil {
		return
	}
	defer f.Close()
	pprof.WriteHeapProfile(f)
}

// tell writes the figures until the run has ended. A reader may meet a file that
// is being replaced; it is never half written.
func (m *measuring) tell(ended <-chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for {
		metrics.Read(heap)
		text := fmt.Sprintf("heap: %d\ngoroutines: %d\n", heap[0].Value.Uint64(), runtime.NumGoroutine())
		if os.WriteFile(m.stats+".new", []byte(text), 0o600) == nil {
			os.Rename(m.stats+".new", m.stats)
		}
		select {
		case <-t.C:
		case <-ended:
			return
		}
	}
}
