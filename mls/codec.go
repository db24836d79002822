package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// encodeUint16s writes a vector of two-octet enumeration values.
func encodeUint16s[T ~uint16](w *wire.Writer, list []T) {
	w.Vector(func(w *wire.Writer) {
		for _, v := range list {
			w.Uint16(uint16(v))
		}
	})
}

// decodeUint16s reads what encodeUint16s writes.
func decodeUint16s[T ~uint16](r *wire.Reader) (list []T) {
	v := r.Vector()
	if n := len(v.Remaining()) / 2; n > 0 {
		list = make([]T, 0, n)
	}
	for !v.Empty() {
		list = append(list, T(v.Uint16()))
	}
	return list
}

// encodeVector writes a vector of structs.
func encodeVector[T any, P interface {
	*T
	wire.Encoder
}](w *wire.Writer, list []T) {
	w.Vector(func(w *wire.Writer) {
		for i := range list {
			P(&list[i]).Encode(w)
		}
	})
}

// decodeVector reads what encodeVector writes. Every struct takes at least one
// octet, so the list is bounded by the input.
func decodeVector[T any, P interface {
	*T
	wire.Decoder
}](r *wire.Reader) (list []T) {
	for v := r.Vector(); !v.Empty(); {
		list = append(room(list), *new(T))
		P(&list[len(list)-1]).Decode(v)
	}
	return list
}

// room makes sure that list can take one more element. It doubles: append alone
// would copy long lists so often that what a decoder allocates in all is no
// small multiple of its input.
func room[T any](list []T) []T {
	if len(list) < cap(list) {
		return list
	}
	return slices.Grow(list, max(len(list), 1))
}
