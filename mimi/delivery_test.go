package mimi

import (
	"errors"
	"reflect"
	"testing"
)

func TestDeliveryReport(t *testing.T) {
	want := &DeliveryReport{Room: "mimi://a.localhost/r/x", Head: 9, Followers: []FollowerDelivery{
		{Provider: "b.localhost", Stored: 9}, {Provider: "c.localhost", Stored: 3, Until: 4}, {Provider: "d.localhost"}}}
	b, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseDeliveryReport(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v", got, err)
	}
	for i := range b {
		if _, err := ParseDeliveryReport(b[:i]); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrBadURI) && !errors.Is(err, ErrUnsupportedProtocol) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for name, bad := range map[string]*DeliveryReport{
		"beyond the head":     {Room: want.Room, Head: 2, Followers: []FollowerDelivery{{Provider: "b.localhost", Stored: 3}}},
		"end beyond the head": {Room: want.Room, Head: 2, Followers: []FollowerDelivery{{Provider: "b.localhost", Until: 3}}},
		"not a domain":        {Room: want.Room, Head: 2, Followers: []FollowerDelivery{{Provider: "B localhost"}}},
		"not a room":          {Room: "mimi://a.localhost/u/x"},
	} {
		b, err := bad.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseDeliveryReport(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func FuzzDeliveryReport(f *testing.F) {
	b, err := (&DeliveryReport{Room: "mimi://a.localhost/r/x", Head: 9, Followers: []FollowerDelivery{{Provider: "b.localhost", Stored: 9}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseDeliveryReport(b)
		if err != nil {
			return
		}
		if again, err := r.Marshal(); err != nil || string(again) != string(b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}
