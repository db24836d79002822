package asset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Paths of what is served here.
const (
	// Path is where files are: uploads on the listener for clients, downloads on
	// both. The ID ends it.
	Path = "/assets/"
	// ProxyPath is where our users fetch files by way of a hub, whose domain ends it;
	// the query has the address in url.
	ProxyPath = "/asset-proxy/"
)

// Headers of uploads, after the tus protocol.
const (
	headerLength = "Upload-Length"
	headerOffset = "Upload-Offset"
	pieceType    = "application/offset+octet-stream"
)

const (
	stallTimeout    = 30 * time.Second // for a block of a download to leave, or of an upload to come
	transferTimeout = 15 * time.Minute // for all of it
)

// A Proxy fetches a file by way of a hub.
type Proxy interface {
	ProxyDownload(ctx context.Context, hub mimi.Domain, address string, header http.Header) (*Download, error)
}

// Handler is the HTTP of a Service. All fields are required.
type Handler struct {
	Service *Service
	// URL gives the address under which others find a file.
	URL func(id string) string
	// Caller finds the user that a request comes from; its error is a *mimi.Problem.
	Caller func(*http.Request) (mimi.UserURI, error)
	// Enter takes a place for a transfer of a user, or refuses.
	Enter func(ctx context.Context, user mimi.UserURI) (leave func(), err error)
	Proxy Proxy
	Log   *slog.Logger
}

// Clients serves our own users, and downloads to everybody.
func (h *Handler) Clients() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /assets", h.asUser(h.create))
	mux.HandleFunc("PATCH "+Path+"{id}", h.asUser(h.append))
	mux.HandleFunc("DELETE "+Path+"{id}", h.asUser(h.remove))
	mux.HandleFunc("GET "+ProxyPath+"{hub}", h.asUser(h.proxied))
	mux.HandleFunc("GET "+Path+"{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && r.Header.Get("Authorization") != "" {
			h.asUser(h.status)(w, r)
			return
		}
		h.Download(w, r)
	})
	return mux
}

// userCall is a request of a user of ours. The error is told to the user.
type userCall func(w http.ResponseWriter, r *http.Request, user mimi.UserURI) error

func (h *Handler) asUser(serve userCall) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := h.Caller(r)
		if err == nil {
			err = serve(w, r, user)
		}
		if err != nil {
			h.refuse(w, r, err)
		}
	}
}

func (h *Handler) create(w http.ResponseWriter, r *http.Request, user mimi.UserURI) error {
	size, err := strconv.ParseInt(r.Header.Get(headerLength), 10, 63)
	if err != nil {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "%s has to say how many octets will come", headerLength)
	}
	id, err := h.Service.Create(r.Context(), user, size)
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.URL(id))
	w.Header().Set(headerOffset, "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (h *Handler) append(w http.ResponseWriter, r *http.Request, user mimi.UserURI) error {
	if r.Header.Get("Content-Type") != pieceType || r.Header.Get("Content-Encoding") != "" {
		return mimi.NewProblem(http.StatusUnsupportedMediaType, mimi.CodeMalformed, "the Content-Type of a piece is %s", pieceType)
	}
	offset, err := strconv.ParseInt(r.Header.Get(headerOffset), 10, 63)
	if err != nil {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "%s has to say where the piece begins", headerOffset)
	}
	leave, err := h.Enter(r.Context(), user)
	if err != nil {
		return err
	}
	defer leave()
	now, err := h.Service.Append(r.Context(), user, r.PathValue("id"), offset, patientReader(w, r.Body))
	if now > 0 {
		w.Header().Set(headerOffset, strconv.FormatInt(now, 10))
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request, user mimi.UserURI) error {
	a, err := h.Service.Status(r.Context(), user, r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set(headerLength, strconv.FormatInt(a.Size, 10))
	w.Header().Set(headerOffset, strconv.FormatInt(a.Received, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (h *Handler) remove(w http.ResponseWriter, r *http.Request, user mimi.UserURI) error {
	if err := h.Service.Delete(r.Context(), user, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// proxied is a file by way of a hub.
func (h *Handler) proxied(w http.ResponseWriter, r *http.Request, user mimi.UserURI) error {
	hub, err := mimi.ParseDomain(r.PathValue("hub"))
	q, queryErr := url.ParseQuery(r.URL.RawQuery)
	if err != nil || queryErr != nil || len(q["url"]) != 1 {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the path must end in a domain and the query have one url")
	}
	leave, err := h.Enter(r.Context(), user)
	if err != nil {
		return err
	}
	defer leave()
	d, err := h.Proxy.ProxyDownload(r.Context(), hub, q.Get("url"), r.Header)
	if err != nil {
		return err
	}
	d.Send(w, h.Log)
	return nil
}

// Download serves a file to whoever knows its name: octets, to be saved and not shown.
func (h *Handler) Download(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, r, mimi.NewProblem(http.StatusMethodNotAllowed, mimi.CodeMethod, "only GET and HEAD"))
		return
	}
	id := strings.TrimPrefix(r.URL.EscapedPath(), Path)
	f, a, err := h.Service.Download(r.Context(), id)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer f.Close()
	defang(w.Header())
	w.Header().Set("ETag", `"`+id+`"`)
	w.Header().Set("Cache-Control", "max-age=86400, immutable")
	http.ServeContent(newPatientWriter(w), r, "", a.Created, f)
}

// defang sees to it that nothing makes more of a file than octets (H95).
func defang(h http.Header) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
}

// Send writes a download as the answer to a request, and closes it. Once the status is
// on the way, what goes wrong cuts the connection.
func (d *Download) Send(w http.ResponseWriter, log *slog.Logger) {
	defer d.Body.Close()
	for name, v := range d.Header {
		w.Header()[name] = v
	}
	defang(w.Header())
	if d.Length >= 0 && d.Status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.FormatInt(d.Length, 10))
	}
	w.WriteHeader(d.Status)
	if _, err := io.Copy(newPatientWriter(w), d.Body); err != nil {
		log.Debug("an attachment was cut short", "cause", err)
		panic(http.ErrAbortHandler)
	}
}

// patientWriter gives each block its own time, so that a slow line is not taken for a
// stalled one, but all of them together an end.
type patientWriter struct {
	http.ResponseWriter
	rc  *http.ResponseController
	end time.Time
}

func newPatientWriter(w http.ResponseWriter) *patientWriter {
	return &patientWriter{w, http.NewResponseController(w), time.Now().Add(transferTimeout)}
}

func (p *patientWriter) Write(b []byte) (int, error) {
	next := time.Now().Add(stallTimeout)
	if next.After(p.end) {
		next = p.end
	}
	if err := p.rc.SetWriteDeadline(next); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// patientReader does the same for what comes.
func patientReader(w http.ResponseWriter, body io.Reader) io.Reader {
	rc, end := http.NewResponseController(w), time.Now().Add(transferTimeout)
	return readerFunc(func(b []byte) (int, error) {
		next := time.Now().Add(stallTimeout)
		if next.After(end) {
			next = end
		}
		if err := rc.SetReadDeadline(next); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
		return body.Read(b)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// refuse writes an error: its class for the user, its cause for the operator.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *mimi.Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, store.ErrFull):
		h.Log.ErrorContext(r.Context(), "no space for an attachment", "err", err)
		p = mimi.NewProblem(http.StatusInsufficientStorage, "storage-full", "the provider has no space left; tell its operator")
	default:
		if r.Context().Err() == nil {
			h.Log.ErrorContext(r.Context(), "could not serve an attachment", "err", err)
		}
		p = mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable, "the request was not carried out; try again later")
		p.RetryAfter = 5 * time.Second
	}
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		head.Set("Retry-After", fmt.Sprint(int64((p.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.Status)
	w.Write(p.Body())
}
