// Package crash puts a recording and failing file system under the store and
// makes the disks that a power cut could have left.
//
// A Disk is a VFS for the ncruces driver. It passes everything through to real
// files and keeps a journal of what was written and synced. From the journal,
// Image makes the files as they may be found after a cut at any call: what was
// synced is there; what was not is lost, torn, reordered or flipped. The store
// is then opened on the image with the product's own driver. In this way one run
// of a workload gives as many crashes as it has calls.
package crash

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// opKind is a change of a file.
type opKind int

const (
	opWrite opKind = iota
	opTruncate
	opSync
	opDelete
)

// Op is one call that changes a file or makes changes durable.
type Op struct {
	Kind opKind
	File string // base name
	At   int64  // of a write; the size, of a truncation
	Data []byte
}

// Disk records what SQLite does to its files. Safe for concurrent use.
type Disk struct {
	vfs.VFS

	mu  sync.Mutex
	ops []Op
	// fault, if not nil, is asked before each call; an error fails the call.
	fault func(n int, op Op) error
}

// NewDisk is a disk over the operating system's files, under a name for the
// driver.
func NewDisk(name string) *Disk {
	d := &Disk{VFS: vfs.Find("")}
	vfs.Register(name, d)
	return d
}

// Calls is the number of recorded calls so far.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ops)
}

// Journal is what was recorded so far.
func (d *Disk) Journal() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops[:len(d.ops):len(d.ops)]
}

// Fail has f decide about every call from now on; nil ends that. Numbers start
// with 1 at this call.
func (d *Disk) Fail(f func(n int, op Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = nil
	if f != nil {
		before := len(d.ops)
		d.fault = func(n int, op Op) error { return f(n-before, op) }
	}
}

// do records a call and carries it out, unless it is to fail.
func (d *Disk) do(op Op, call func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops = append(d.ops, op)
	if d.fault != nil {
		if err := d.fault(len(d.ops), op); err != nil {
			d.ops = d.ops[:len(d.ops)-1]
			d.ops = append(d.ops, Op{Kind: opWrite, File: op.File}) // it counts, without effect
			return err
		}
	}
	return call()
}

// Open implements vfs.VFS.
func (d *Disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := d.VFS.Open(name, flags)
	if err != nil || name == "" {
		return f, out, err
	}
	return &file{f, d, filepath.Base(name)}, out, nil
}

// OpenFilename implements vfs.VFSFilename.
func (d *Disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := vfsutil.WrapOpenFilename(d.VFS, name, flags)
	if err != nil || name == nil || !strings.Contains(name.String(), "hubbub.db") {
		return f, out, err
	}
	return &file{f, d, filepath.Base(name.String())}, out, nil
}

// Delete implements vfs.VFS.
func (d *Disk) Delete(name string, syncDir bool) error {
	return d.do(Op{Kind: opDelete, File: filepath.Base(name)}, func() error { return d.VFS.Delete(name, syncDir) })
}

// file is one open file of a Disk.
type file struct {
	vfs.File
	disk *Disk
	name string
}

func (f *file) WriteAt(b []byte, at int64) (n int, err error) {
	op := Op{Kind: opWrite, File: f.name, At: at, Data: append([]byte(nil), b...)}
	err = f.disk.do(op, func() (err error) { n, err = f.File.WriteAt(b, at); return err })
	return n, err
}

func (f *file) Truncate(size int64) error {
	return f.disk.do(Op{Kind: opTruncate, File: f.name, At: size}, func() error { return f.File.Truncate(size) })
}

// Sync records the promise and does without the wait.
func (f *file) Sync(vfs.SyncFlag) error {
	return f.disk.do(Op{Kind: opSync, File: f.name}, func() error { return nil })
}

func (f *file) Unwrap() vfs.File                   { return f.File }
func (f *file) SharedMemory() vfs.SharedMemory     { return vfsutil.WrapSharedMemory(f.File) }
func (f *file) LockState() vfs.LockLevel           { return vfsutil.WrapLockState(f.File) }
func (f *file) PersistWAL() bool                   { return vfsutil.WrapPersistWAL(f.File) }
func (f *file) SetPersistWAL(keep bool)            { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *file) HasMoved() (bool, error)            { return vfsutil.WrapHasMoved(f.File) }
func (f *file) Pragma(n, v string) (string, error) { return vfsutil.WrapPragma(f.File, n, v) }

// DeviceCharacteristics promises nothing: no atomic writes, no order.
func (f *file) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }
