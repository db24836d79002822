package content

import (
	"fmt"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Reported finds what a hub compares in the application data of a reported message: salt,
// sender and room. The media type in front, if there is one, is taken off (D-33). The error
// wraps [ErrInvalid].
func Reported(applicationData []byte) (mimi.ReportedContent, error) {
	m, err := DecodeReported(applicationData)
	if err != nil {
		return mimi.ReportedContent{}, err
	}
	return mimi.ReportedContent{Salt: m.Salt, Sender: m.Extensions.Sender(), Room: m.Extensions.Room()}, nil
}

// DecodeReported reads the message in the application data of a reported message, with
// or without a media type in front (D-33). The error wraps [ErrInvalid].
func DecodeReported(applicationData []byte) (*Message, error) {
	encoded := applicationData
	var frame mls.ApplicationFraming
	// A message begins with an octet that no framing of this length can begin with.
	if len(encoded) == 0 || encoded[0] != 0x87 {
		if err := wire.Unmarshal(encoded, &frame); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		encoded = frame.Content
	}
	return Decode(encoded)
}
