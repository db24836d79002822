package fanout

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/store/storetest"
)

// TestFullDiskLeavesNothingUnsaid: what a follower acknowledged while the disk
// was full is stored once there is space, though nothing else happens in the
// room. Found by the simulator, seed 67.
func TestFullDiskLeavesNothingUnsaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.stop()
		var full atomic.Bool
		x.cfg.Store = &storetest.Faulty{Store: x.store, Decide: func(int) storetest.Fault {
			if full.Load() {
				return storetest.Refuse
			}
			return storetest.NoFault
		}}
		x.fanout = New(x.cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := x.fanout.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		x.stop = func() { cancel(); <-done }

		x.host(chat, b)
		x.post(chat, 1)
		synctest.Wait() // shipped, but what came back is not stored yet
		full.Store(true)
		<-time.After(time.Minute)
		synctest.Wait()
		if s := x.state(chat, b); s.Acked != 0 || s.Sent != 1 {
			t.Fatalf("state %+v, want a batch on its way", s)
		}
		full.Store(false)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if s := x.state(chat, b); s.Acked != 1 {
			t.Errorf("state %+v, want all acknowledged", s)
		}
		x.want(x.got(), "b.localhost 1 1;")
	})
}
