package mls

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Result is what Process returns for one message.
type Result struct {
	Processed Processed
	Err       error
}

// ProcessAll is Process for application messages one after another: each is
// processed by the group that the last of those before it left, and one that fails
// leaves that as it is. Ratchets turn in order; decryption and signatures, which
// cost most, use all processors.
//
// It stops before the first message that is no application message of the current
// epoch, and returns a Result for each one before it. Errors in them: as of
// Process.
func (g *Group) ProcessAll(msgs [][]byte) []Result {
	if g == nil {
		return nil
	}
	jobs := g.openAll(msgs)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(jobs)); i = next.Add(1) - 1 {
				jobs[i].finish(g.Suite())
			}
		})
	}
	wg.Wait()
	out := make([]Result, 0, len(jobs))
	current := g
	for i := range jobs {
		j := &jobs[i]
		out = append(out, j.Result)
		if j.spent && j.Err != nil {
			// The messages after it were opened as if its key were gone, which it
			// is not. One by one, so that bad messages cost no more than twice.
			for k := range jobs[i+1:] {
				p, err := current.Process(msgs[i+1+k])
				out = append(out, Result{p, err})
				if a, ok := p.(*Application); ok {
					current = a.Next
				}
			}
			return out
		}
		if a, ok := j.Processed.(*Application); ok {
			current = a.Next
		}
	}
	return out
}

// opening is a message whose key has been taken.
type opening struct {
	Result
	spent bool // the group that follows lacks its key
	m     *PrivateMessage
	sd    *senderData
	key   messageKey
	next  *Group
}

// openAll takes the keys of messages, in order.
func (g *Group) openAll(msgs [][]byte) []opening {
	jobs := make([]opening, 0, len(msgs))
	for _, msg := range msgs {
		m, err := ParseMessage(msg)
		if err != nil || m.Private == nil || m.Private.ContentType != ContentTypeApplication ||
			g.checkEpoch(m.Private.GroupID, m.Private.Epoch) != nil {
			break
		}
		j := opening{m: m.Private}
		if j.sd, j.Err = openSenderData(g.Suite(), g.secrets.senderData, m.Private); j.Err == nil {
			if j.sd.leaf == g.own {
				j.Processed = &OwnMessage{Epoch: m.Private.Epoch, ContentType: ContentTypeApplication}
			} else if keys, key, err := g.keys.take(j.sd.leaf, ContentTypeApplication, j.sd.generation,
				g.config().forward(), g.config().skippedKeys()); err != nil {
				j.Err = err
			} else {
				g = g.with(func(next *Group) { next.keys = keys })
				j.spent, j.key, j.next = true, key, g
			}
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// finish decrypts and authenticates a message.
func (j *opening) finish(suite CipherSuite) {
	if !j.spent {
		return
	}
	a, err := openPrivate(suite, j.m, j.sd, j.key)
	if err == nil {
		j.Processed, err = j.next.authenticate(j.m, a, j.sd.generation)
	}
	j.Err = err
}
