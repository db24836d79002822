package store

import "hubbub/mimi"

// Report is what a hub was told of abuse in one of its rooms.
type Report struct {
	ID   uint64   // place in the queue, from 1
	Hash [32]byte // of what was reported and where: the same is one report
	Room mimi.RoomURI
	Peer mimi.Domain // that passed it on, or ours
	At   uint64      // Unix ms
	Body []byte      // exact octets of the mimi.AbuseReport
	// Verdicts says of each message in Body why it is not proved; "" = it is.
	Verdicts []string
	Resolved uint64 // Unix ms; 0 = open
	// Resolution is what the operator noted when it was resolved.
	Resolution string
}

// ReportReader reads the queue of reports.
type ReportReader interface {
	// Report returns one. ErrNotFound.
	Report(id uint64) (*Report, error)
	// ReportID finds one by its Hash. ErrNotFound.
	ReportID(hash [32]byte) (uint64, error)
	// Reports lists reports with ID > after by ID, at most limit; open ones, or all.
	Reports(after uint64, all bool, limit int) ([]Report, error)
}

// ReportWriter writes it.
type ReportWriter interface {
	// AddReport keeps a new report and gives its ID. ErrExists if its Hash is known.
	AddReport(r Report) (id uint64, err error)
	// ResolveReport closes a report. One that is closed gets the new note and time.
	// ErrNotFound.
	ResolveReport(id, at uint64, resolution string) error
}
