package tail

import (
	"hubbub/internal/store"
	"hubbub/mimi"
)

// What follows changes who may read a room, and its history, without an entry: streams
// have to look at the store.

func (t *observed) OpenSpans(uri mimi.RoomURI, spans []store.Membership) error {
	err := t.Tx.OpenSpans(uri, spans)
	if err == nil {
		t.made = append(t.made, made{uri: uri})
	}
	return err
}

func (t *observed) BeginJudging(j store.Judged) error {
	err := t.Tx.BeginJudging(j)
	if err == nil {
		t.made = append(t.made, made{uri: j.Room})
	}
	return err
}
