package sqlstore

import "errors"

// Numbers are reserved in blocks, so that handing one out costs no statement.
// What is left of a block when the program ends is never used.
const (
	idBlockSize = 1 << 20
	idBlockLow  = 1 << 18 // a new block is reserved when fewer are left
)

// idBlock hands out ascending numbers that are never repeated, not even after
// rows are deleted or a transaction is undone: a client's cursor stays right.
// The writer's goroutine owns it.
type idBlock struct {
	next, end int64
	kept      int64 // end as it is in the database
}

func (b *idBlock) load(s *session) error {
	if err := s.one([]any{&b.next}, "SELECT value FROM counters WHERE name = 'submission'"); err != nil {
		return err
	}
	b.end, b.kept = b.next, b.next
	return nil
}

// refill reserves a block if few numbers are left. It runs at the start of a
// transaction; committed or undone says what became of that.
func (b *idBlock) refill(s *session) error {
	if b.end-b.next >= idBlockLow {
		return nil
	}
	_, err := s.exec("UPDATE counters SET value = $1 WHERE name = 'submission'", b.next+idBlockSize)
	if err == nil {
		b.end = b.next + idBlockSize
	}
	return err
}

func (b *idBlock) committed() { b.kept = b.end }

func (b *idBlock) undone() { b.end = b.kept }

func (b *idBlock) take() (int64, error) {
	if b.next >= b.end {
		return 0, errors.New("too many submissions in one transaction")
	}
	b.next++
	return b.next - 1, nil
}

// takeAll takes n numbers that follow each other and returns the first.
func (b *idBlock) takeAll(n int64) (int64, error) {
	if n > b.end-b.next {
		return 0, errors.New("too many submissions in one transaction")
	}
	b.next += n
	return b.next - n, nil
}
