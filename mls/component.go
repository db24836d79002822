package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// ComponentData is the state of one component (draft-ietf-mls-extensions §4.6).
type ComponentData struct {
	Component ComponentID
	Data      []byte
}

// Encode appends the entry.
func (c *ComponentData) Encode(w *wire.Writer) {
	w.Uint16(uint16(c.Component))
	w.Opaque(c.Data)
}

// Decode reads an entry.
func (c *ComponentData) Decode(r *wire.Reader) {
	c.Component = ComponentID(r.Uint16())
	c.Data = r.Opaque()
}

// AppDataDictionary maps components to their data: the content of extension
// app_data_dictionary (draft-ietf-mls-extensions §4.6). Entries are strictly
// ascending by component.
type AppDataDictionary struct{ Entries []ComponentData }

// Encode appends the dictionary; Entries must be in order, which Set keeps.
func (d *AppDataDictionary) Encode(w *wire.Writer) { encodeVector(w, d.Entries) }

// Decode reads a dictionary and refuses unsorted or repeated components.
func (d *AppDataDictionary) Decode(r *wire.Reader) { d.Entries = decodeAscending(r) }

// decodeAscending reads a vector of entries in strictly ascending order.
func decodeAscending(r *wire.Reader) (list []ComponentData) {
	for v := r.Vector(); !v.Empty(); {
		var e ComponentData
		e.Decode(v)
		if n := len(list); n > 0 && e.Component <= list[n-1].Component {
			v.FailValue()
		}
		list = append(room(list), e)
	}
	return list
}

func findComponent(list []ComponentData, id ComponentID) (int, bool) {
	return slices.BinarySearchFunc(list, id, func(e ComponentData, id ComponentID) int {
		return int(e.Component) - int(id)
	})
}

// Get returns the data of a component.
func (d *AppDataDictionary) Get(id ComponentID) (data []byte, ok bool) {
	if i, ok := findComponent(d.Entries, id); ok {
		return d.Entries[i].Data, true
	}
	return nil, false
}

// Set stores the data of a component in its sorted place.
func (d *AppDataDictionary) Set(id ComponentID, data []byte) {
	i, ok := findComponent(d.Entries, id)
	if ok {
		d.Entries[i].Data = data
		return
	}
	d.Entries = slices.Insert(d.Entries, i, ComponentData{Component: id, Data: data})
}

// Delete removes a component and reports whether it was there.
func (d *AppDataDictionary) Delete(id ComponentID) bool {
	i, ok := findComponent(d.Entries, id)
	if ok {
		d.Entries = slices.Delete(d.Entries, i, i+1)
	}
	return ok
}

// Clone returns a dictionary that can be changed without changing d. The data
// slices are shared.
func (d *AppDataDictionary) Clone() *AppDataDictionary {
	return &AppDataDictionary{Entries: slices.Clone(d.Entries)}
}

// ComponentsList is the data of components app_components and safe_aad: what a
// leaf supports, or what a group requires (draft-ietf-mls-extensions §4.6).
type ComponentsList []ComponentID

// Encode appends the list.
func (l ComponentsList) Encode(w *wire.Writer) { encodeUint16s(w, l) }

// Decode reads a list.
func (l *ComponentsList) Decode(r *wire.Reader) { *l = decodeUint16s[ComponentID](r) }

// SafeAAD is the authenticated data of every message in a group whose
// GroupContext holds component safe_aad (draft-ietf-mls-extensions §4.9).
// Items are strictly ascending by component.
type SafeAAD struct{ Items []ComponentData }

// Encode appends the items, which must be in order.
func (a *SafeAAD) Encode(w *wire.Writer) { encodeVector(w, a.Items) }

// Decode reads the items and refuses unsorted or repeated components.
func (a *SafeAAD) Decode(r *wire.Reader) { a.Items = decodeAscending(r) }

// Get returns the item of a component.
func (a *SafeAAD) Get(id ComponentID) (data []byte, ok bool) {
	if i, ok := findComponent(a.Items, id); ok {
		return a.Items[i].Data, true
	}
	return nil, false
}

// ComponentLabel returns the label under which component id signs or encrypts
// with the group's keys: the encoded ComponentOperationLabel, to be passed to
// SignWithLabel, EncryptWithLabel and their inverses
// (draft-ietf-mls-extensions §4.1).
func ComponentLabel(id ComponentID, label string) string {
	var w wire.Writer
	w.Opaque([]byte("MLS Component"))
	w.Uint16(uint16(id))
	w.Opaque([]byte(label))
	b, _ := w.Bytes()
	return string(b)
}
