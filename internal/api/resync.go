package api

import (
	"encoding/hex"
	"encoding/json"
	"net/http"

	"hubbub/mimi"
)

// resync serves clientpb.ResyncPath on the operator's socket. It lasts as long as
// there is something to fetch; the answer says where the copy is then.
func (s *Server) resync(w http.ResponseWriter, r *http.Request) {
	uri, err := mimi.ParseRoom(r.URL.Query().Get("room"))
	switch {
	case err != nil:
		http.Error(w, "room is not a room URI", http.StatusBadRequest)
		return
	case uri.Domain() == s.Domain:
		http.Error(w, "the room is hosted here: its log is the one that others are compared with", http.StatusConflict)
		return
	case s.Resync == nil:
		http.Error(w, "this provider cannot catch up", http.StatusNotImplemented)
		return
	}
	pos, err := s.Resync(r.Context(), uri)
	if err != nil {
		s.Log.WarnContext(r.Context(), "resync failed", "cause", err)
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"room": uri, "seq": pos.Seq, "hash": hex.EncodeToString(pos.Hash[:])})
}
