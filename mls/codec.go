package mls

import "hubbub/mls/wire"

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
	for v := r.Vector(); !v.Empty(); {
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
		var e T
		P(&e).Decode(v)
		list = append(list, e)
	}
	return list
}
