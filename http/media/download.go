package media

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/blobs"
)

// sandbox is the policy that the specification recommends for content.
const sandbox = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';"

// memory is how long clients may keep content without asking again. It never changes, but it may be withdrawn.
const memory = 24 * time.Hour

// download serves the content as it was uploaded.
func (m *Repository) download(a access) api.Handler {
	return func(r *api.Request) (any, error) {
		row, err := m.wanted(r, a)
		if err != nil {
			return nil, err
		}
		contentType, shown := served(row.Type)
		filename := row.Filename
		if name, ok := r.Vars["fileName"]; ok {
			filename = &name
		}
		return m.serve(r, a, content{object: row.Blob, size: row.Size, etag: base64.RawURLEncoding.EncodeToString(row.SHA256),
			contentType: contentType, disposition: disposition(shown, filename)})
	}
}

// content is an object as a client gets it.
type content struct {
	object                         string
	size                           int64
	etag, contentType, disposition string
	held                           []byte // all of it, when it is in memory anyway
}

// serve streams the object, or the part of it that is asked for, or says where else it is.
func (m *Repository) serve(r *api.Request, a access, c content) (any, error) {
	if target, err := m.elsewhere(r, a, c); err != nil || target != "" {
		return api.Answer{Status: http.StatusTemporaryRedirect, Header: http.Header{
			"Location": {target}, "Cross-Origin-Resource-Policy": {"cross-origin"}, "Cache-Control": {"no-store"}}}, err
	}
	from, err := m.open(r.Ctx, c)
	if err != nil {
		return nil, err
	}
	return stream(c, from), nil
}

// open gives the object to read.
func (m *Repository) open(ctx context.Context, c content) (io.ReadSeekCloser, error) {
	if c.held != nil {
		return nopCloser{bytes.NewReader(c.held)}, nil
	}
	if _, err := m.Blobs.Stat(ctx, c.object); err != nil {
		if errors.Is(err, blobs.ErrNotFound) {
			m.Log.Error("content is missing in the media store", "object", c.object)
			return nil, mxerr.NotFound("the content of this media is lost")
		}
		return nil, fmt.Errorf("media store: %w", err)
	}
	return blobs.NewSeeker(ctx, m.Blobs, c.object, c.size), nil
}

// nopCloser is what need not be closed.
type nopCloser struct{ io.ReadSeeker }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// stream writes content with the headers that keep it from doing harm.
func stream(c content, from io.ReadSeekCloser) api.Stream {
	return func(w http.ResponseWriter, hr *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", c.contentType)
		h.Set("Content-Disposition", c.disposition)
		h.Set("Content-Security-Policy", sandbox)
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "private, max-age="+strconv.Itoa(int(memory.Seconds()))+", immutable")
		h.Set("ETag", `"`+c.etag+`"`)
		h.Set(gzhttp.HeaderNoCompression, "1") // most of it is compressed, and parts of it cannot be
		defer from.Close()                     //nolint:errcheck // it was only read
		if strings.Contains(hr.Header.Get("Range"), ",") {
			// Each of many parts would be another request to the store. Servers may send the whole instead (RFC 9110, section 14.2).
			hr = hr.Clone(hr.Context())
			hr.Header.Del("Range")
		}
		http.ServeContent(&unhurried{ResponseWriter: w, control: http.NewResponseController(w)}, hr, "", time.Time{}, from)
		return nil
	}
}

// linkLifetime is how long a link to the store is good. It is for the client that was sent there alone.
const linkLifetime = 5 * time.Minute

// elsewhere gives the store's own URL of the object, empty when the client is not to go there.
func (m *Repository) elsewhere(r *api.Request, a access, c content) (string, error) {
	presenter, ok := m.Blobs.(blobs.Presenter)
	if !ok || !m.Redirect || c.held != nil || r.Method() != http.MethodGet {
		return "", nil
	}
	allowed, err := r.Bool("allow_redirect", a == fresh)
	if err != nil || !allowed {
		return "", err
	}
	return presenter.URL(r.Ctx, c.object, blobs.Presentation{ContentType: c.contentType, ContentDisposition: c.disposition, Lifetime: linkLifetime})
}

// patience is how long a client may take for one piece of the content.
const patience = 30 * time.Second

// unhurried puts the deadline of the response off with every piece that the client takes.
type unhurried struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (u *unhurried) Write(p []byte) (int, error) {
	_ = u.control.SetWriteDeadline(time.Now().Add(patience)) // writers without deadlines are those of tests
	return u.ResponseWriter.Write(p)
}

// Unwrap gives the writer to http.ResponseController.
func (u *unhurried) Unwrap() http.ResponseWriter { return u.ResponseWriter }
