package federation

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"hubbub/mimi"
)

const (
	// maxDirectoryAge bounds how long a directory is believed (DIR-8).
	maxDirectoryAge = time.Hour
	// minDirectoryAge keeps a peer's 404s from turning each call into two.
	minDirectoryAge = 10 * time.Second
)

// directoryCache holds a peer's directory. Fetching is serialised by fetch; the
// fields below it are guarded by mu and never held across the network.
type directoryCache struct {
	fetch chan struct{} // holds one token

	mu      sync.Mutex
	doc     mimi.Directory
	fetched time.Time
	until   time.Time
}

func (d *directoryCache) get(now time.Time) mimi.Directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.until) {
		return d.doc
	}
	return nil
}

func (d *directoryCache) put(doc mimi.Directory, now time.Time, age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doc, d.fetched, d.until = doc, now, now.Add(age)
}

// expire has the next call fetch the directory anew, unless the copy is young.
func (d *directoryCache) expire(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.fetched) < minDirectoryAge {
		return false
	}
	d.until = time.Time{}
	return true
}

// stale is the last good copy, however old.
func (d *directoryCache) stale() mimi.Directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doc
}

// directoryOf is the peer's directory, from the cache or fetched. When the peer
// publishes rubbish the last good copy is kept (H85).
func (c *Client) directoryOf(ctx context.Context, p *peer) (mimi.Directory, error) {
	if doc := p.directory.get(c.cfg.Now()); doc != nil {
		return doc, nil
	}
	select {
	case p.directory.fetch <- struct{}{}:
		defer func() { <-p.directory.fetch }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s: waiting for its directory: %w", ErrUnreachable, p.domain, ctx.Err())
	}
	if doc := p.directory.get(c.cfg.Now()); doc != nil { // fetched while we waited
		return doc, nil
	}
	doc, age, err := c.fetchDirectory(ctx, p)
	if err != nil {
		if old := p.directory.stale(); old != nil {
			p.directory.put(old, c.cfg.Now(), minDirectoryAge)
			return old, nil
		}
		return nil, err
	}
	p.directory.put(doc, c.cfg.Now(), age)
	return doc, nil
}

func (c *Client) fetchDirectory(ctx context.Context, p *peer) (mimi.Directory, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(p.domain)+mimi.DirectoryPath, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching the directory of %s: %w", p.domain, err)
	}
	res, body, err := c.roundTrip(p, req)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching the directory: %w", err)
	}
	doc, err := mimi.ParseDirectory(body)
	if err != nil || res.StatusCode != http.StatusOK {
		return nil, 0, badAnswer("%s publishes no usable directory", p.domain)
	}
	return doc, freshness(res.Header.Get("Cache-Control")), nil
}

// freshness is the max-age of an answer between our bounds; an hour if it gives
// none, the least if it asks not to be cached.
func freshness(cacheControl string) time.Duration {
	age := maxDirectoryAge
	for part := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
		switch name {
		case "no-store", "no-cache":
			age = minDirectoryAge
		case "max-age":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				age = min(age, time.Duration(n)*time.Second)
			}
		}
	}
	return max(age, minDirectoryAge)
}
