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
	encoded := applicationData
	var frame mls.ApplicationFraming
	// A message begins with an octet that no framing of this length can begin with.
	if len(encoded) == 0 || encoded[0] != 0x87 {
		if err := wire.Unmarshal(encoded, &frame); err != nil {
			return mimi.ReportedContent{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		encoded = frame.Content
	}
	m, err := Decode(encoded)
	if err != nil {
		return mimi.ReportedContent{}, err
	}
	return mimi.ReportedContent{Salt: m.Salt, Sender: m.Extensions.Sender(), Room: m.Extensions.Room()}, nil
}
