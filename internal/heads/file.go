// Package heads keeps the head of every room's log a second time, outside the
// database, so that a database that lost what was answered is found out: one whose
// write-ahead log was damaged and silently cut short, or an old copy put back.
//
// Every position is written to a file of its own once the database has it and
// before the write is answered or soon after: the file is handed to the system
// within WriteEvery and synced every SyncEvery, so that no post waits for a second
// sync, nor costs a switch of threads for it. What the file can miss is therefore
// bounded: WriteEvery before a kill of the process, and both with one sync before a
// loss of power. It is never ahead of the database, or it would cry wolf.
//
// Guard records what a store commits; Compare finds what the database lacks.
package heads

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"hubbub/internal/room"
	"hubbub/mimi"
)

// How long a position may be noted but not written, and written but not synced.
const (
	WriteEvery = 20 * time.Millisecond
	SyncEvery  = 250 * time.Millisecond
)

const (
	// firstLine says what the file is.
	firstLine = "hubbub heads v1\n"
	// A file is written anew once it is larger than this and mostly outdated.
	compactBytes = 1 << 20
	// spaceRetry is how long to wait for space on a full disk.
	spaceRetry = time.Second
)

// ErrForeign: the file is none of ours, or of a newer version.
var ErrForeign = errors.New("heads: not a file of heads")

// File is the file. Methods are safe for concurrent use.
type File struct {
	path    string
	damaged int

	mu      sync.Mutex
	known   map[mimi.RoomURI]room.Pos
	pending map[mimi.RoomURI]room.Pos // not written yet
	bell    chan struct{}             // has a value if pending does

	// Owned by whoever writes: Run, and Close after it.
	writing sync.Mutex
	f       *os.File
	size    int64
	torn    bool // the last write broke off
	dirty   bool // written but not synced
}

// Open reads the file at path, or makes it. Lines that are damaged, as the last
// one is after a loss of power, are left out and counted.
func Open(path string) (*File, error) {
	f := &File{path: path, pending: map[mimi.RoomURI]room.Pos{}, bell: make(chan struct{}, 1)}
	var err error
	if f.known, f.damaged, err = Read(path); err != nil {
		return nil, err
	}
	if err := f.rewrite(); err != nil {
		return nil, err
	}
	return f, nil
}

// Read gives what a file says, without touching it: none if there is no file.
// damaged counts the lines that could not be read.
func Read(path string) (known map[mimi.RoomURI]room.Pos, damaged int, err error) {
	known = map[mimi.RoomURI]room.Pos{}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return known, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("heads: %w", err)
	}
	rest, ok := bytes.CutPrefix(b, []byte(firstLine))
	if !ok {
		return nil, 0, fmt.Errorf("%w: %s", ErrForeign, path)
	}
	for line := range bytes.SplitSeq(rest, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if uri, pos, ok := parseLine(string(line)); ok {
			known[uri] = pos
		} else {
			damaged++
		}
	}
	return known, damaged, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func line(uri mimi.RoomURI, pos room.Pos) string {
	text := fmt.Sprintf("%d %x %s", pos.Seq, pos.Hash, uri)
	return fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(text), castagnoli), text)
}

func parseLine(s string) (uri mimi.RoomURI, pos room.Pos, ok bool) {
	sum, text, _ := strings.Cut(s, " ")
	if sum != fmt.Sprintf("%08x", crc32.Checksum([]byte(text), castagnoli)) {
		return "", pos, false
	}
	fields := strings.Split(text, " ")
	if len(fields) != 3 || len(fields[1]) != 2*len(pos.Hash) {
		return "", pos, false
	}
	var err, hexErr error
	pos.Seq, err = strconv.ParseUint(fields[0], 10, 64)
	_, hexErr = hex.Decode(pos.Hash[:], []byte(fields[1]))
	uri, uriErr := mimi.ParseRoom(fields[2])
	return uri, pos, errors.Join(err, hexErr, uriErr) == nil
}

// Damaged is the number of lines that could not be read at Open.
func (f *File) Damaged() int { return f.damaged }

// Known gives all heads there are.
func (f *File) Known() map[mimi.RoomURI]room.Pos {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.known)
}

// Note says that the database holds a room's log up to pos. Going backwards is
// ignored: calls may overtake each other.
func (f *File) Note(uri mimi.RoomURI, pos room.Pos) { f.note(uri, pos, false) }

// Begin is Note for a room whose log begins at pos, whatever was known before.
func (f *File) Begin(uri mimi.RoomURI, pos room.Pos) { f.note(uri, pos, true) }

func (f *File) note(uri mimi.RoomURI, pos room.Pos, begin bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.known[uri]; ok && !begin && old.Seq >= pos.Seq {
		return
	}
	f.known[uri], f.pending[uri] = pos, pos
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

// Forget drops a room, and makes that durable: the operator has accepted that it
// is lost.
func (f *File) Forget(uri mimi.RoomURI) error {
	f.mu.Lock()
	delete(f.known, uri)
	delete(f.pending, uri)
	f.mu.Unlock()
	return f.rewrite()
}

// Run writes what is noted until ctx ends. An error means that the file cannot
// be trusted any more, and so that the process has to end: after a failed sync
// nobody can say what is on the disk.
func (f *File) Run(ctx context.Context) error {
	var gathered, due <-chan time.Time // when what is noted must be written, and what is written synced
	bell := f.bell
	for {
		select {
		case <-ctx.Done():
			return f.flush()
		case <-due:
			due = nil
			if err := f.sync(); err != nil {
				return err
			}
			continue
		case <-bell:
			bell, gathered = nil, time.After(WriteEvery)
			continue
		case <-gathered:
			bell, gathered = f.bell, nil
		}
		err := f.write()
		if errors.Is(err, syscall.ENOSPC) {
			select { // nothing new is accepted meanwhile: the database has no space either
			case <-time.After(spaceRetry):
			case <-ctx.Done():
			}
			f.ring()
			continue
		}
		if err != nil {
			return err
		}
		if due == nil {
			due = time.After(SyncEvery)
		}
	}
}

func (f *File) ring() {
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

// flush writes and syncs everything.
func (f *File) flush() error {
	if err := f.write(); err != nil {
		return err
	}
	return f.sync()
}

// Close flushes and closes the file; Run has ended or never began.
func (f *File) Close() error {
	f.writing.Lock()
	closed := f.f == nil
	f.writing.Unlock()
	if closed {
		return nil
	}
	err := f.flush()
	f.writing.Lock()
	defer f.writing.Unlock()
	err = errors.Join(err, f.f.Close())
	f.f = nil
	return err
}

// write hands what is pending to the system, in one call.
func (f *File) write() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	batch := f.pending
	f.pending = map[mimi.RoomURI]room.Pos{}
	live := len(f.known)
	f.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	if f.size > compactBytes && f.size > int64(live)*4*256 {
		return f.rewriteLocked()
	}
	var b bytes.Buffer
	if f.torn {
		b.WriteByte('\n')
	}
	for uri, pos := range batch {
		b.WriteString(line(uri, pos))
	}
	n, err := f.f.Write(b.Bytes())
	f.size += int64(n)
	f.dirty = true
	if f.torn = err != nil; err != nil {
		f.putBack(batch)
		return fmt.Errorf("heads: %w", err)
	}
	return nil
}

// putBack makes positions pending again, unless newer ones are.
func (f *File) putBack(batch map[mimi.RoomURI]room.Pos) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for uri, pos := range batch {
		if _, newer := f.pending[uri]; !newer {
			f.pending[uri] = pos
		}
	}
}

func (f *File) sync() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if !f.dirty {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("heads: %w", err)
	}
	f.dirty = false
	return nil
}

func (f *File) rewrite() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.rewriteLocked()
}

// rewriteLocked replaces the file by one without outdated lines, by rename.
func (f *File) rewriteLocked() error {
	var b bytes.Buffer
	b.WriteString(firstLine)
	known := f.Known()
	for _, uri := range slices.Sorted(maps.Keys(known)) {
		b.WriteString(line(uri, known[uri]))
	}
	fresh, err := os.OpenFile(f.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("heads: %w", err)
	}
	_, err = fresh.Write(b.Bytes())
	if err == nil {
		err = fresh.Sync()
	}
	if err == nil {
		err = os.Rename(f.path+".new", f.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.path))
	}
	if err != nil {
		fresh.Close()
		f.putBack(known)
		return fmt.Errorf("heads: %w", err)
	}
	if f.f != nil {
		f.f.Close()
	}
	f.f, f.size, f.torn, f.dirty = fresh, int64(b.Len()), false, false
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
