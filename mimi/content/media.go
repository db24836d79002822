package content

import "hubbub/mls"

// Receivable are the media types that this package decodes and [Message.Text] makes text
// of, in the form in which a leaf advertises them: those that every client must receive,
// CommonMark, and status reports (CNT-60, CNT-61, EXT-18, EXT-19). A client that shows
// more lists more.
func Receivable() mls.MediaTypeList {
	parameter := func(name, value string) []mls.MediaTypeParameter {
		return []mls.MediaTypeParameter{{Name: name, Value: value}}
	}
	return mls.MediaTypeList{
		{Type: MediaType},
		{Type: "text/plain", Parameters: parameter("charset", "utf-8")},
		{Type: "text/markdown", Parameters: parameter("variant", "GFM-MIMI")},
		{Type: "text/markdown", Parameters: parameter("variant", "CommonMark")},
		{Type: StatusMediaType},
	}
}
