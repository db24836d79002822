package fanout

import (
	"testing"
	"testing/synctest"
	"time"

	"hubbub/mimi"
)

// TestRetryNow: an operator ends a pause that the peer asked for, and sees when
// the next attempt would have been.
func TestRetryNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.answers(func(request) error { return &mimi.Problem{Status: 503, RetryAfter: time.Hour} })
		x.host(chat, b)
		x.post(chat, 1)
		synctest.Wait()
		st := x.fanout.Status(chat, b)
		if st.Failures != 1 || time.Until(st.Next) != time.Hour {
			t.Errorf("%+v, want the next attempt in an hour", st)
		}
		x.got()
		x.fanout.Retry(c) // somebody else
		synctest.Wait()
		x.want(x.got())
		x.answers(nil)
		x.fanout.Retry(b)
		synctest.Wait()
		x.want(x.got(), "b.localhost 1 1;")
		if st := x.fanout.Status(chat, b); st.Failures != 0 || !st.Next.IsZero() {
			t.Errorf("after it went well: %+v", st)
		}
		if st := x.fanout.Status(other, b); st != (Status{}) {
			t.Errorf("of a pair that is not: %+v", st)
		}
	})
}
