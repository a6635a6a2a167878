package media

import (
	"encoding/base64"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Federated are the endpoints with which other servers fetch what users of this one have uploaded (server-server API, "Content Repository").
func (m *Repository) Federated() []api.Endpoint {
	const path = "/_matrix/federation/v1/media"
	return []api.Endpoint{
		{Methods: []string{http.MethodGet}, Path: path + "/download/{mediaId}", Auth: api.Signed, Limit: api.LimitMedia, Handler: m.downloadFor},
		{Methods: []string{http.MethodGet}, Path: path + "/thumbnail/{mediaId}", Auth: api.Signed, Limit: api.LimitMedia, Handler: m.thumbnailFor},
	}
}

// own finds media of this server alone: nothing is fetched for other servers.
func (m *Repository) own(r *api.Request) (schema.Media, error) {
	mediaID := r.Vars["mediaId"]
	if err := validMedia(m.ServerName, mediaID); err != nil {
		return schema.Media{}, err
	}
	wait, err := r.Int("timeout_ms", defaultWait.Milliseconds(), 0, longestWait.Milliseconds())
	if err != nil {
		return schema.Media{}, err
	}
	row, err := m.find(r, m.ServerName, mediaID, time.Duration(wait)*time.Millisecond, false)
	if err == nil {
		err = m.visible(r.Ctx, row)
	}
	if err == nil {
		m.accesses.note(row, r.Now)
	}
	return row, err
}

func (m *Repository) downloadFor(r *api.Request) (any, error) {
	row, err := m.own(r)
	if err != nil {
		return nil, err
	}
	contentType, shown := served(row.Type)
	return m.enclose(r, content{object: row.Blob, size: row.Size, etag: base64.RawURLEncoding.EncodeToString(row.SHA256),
		contentType: contentType, disposition: disposition(shown, row.Filename)})
}

func (m *Repository) thumbnailFor(r *api.Request) (any, error) {
	asked, err := askedSize(r)
	if err != nil {
		return nil, err
	}
	row, err := m.own(r)
	if err != nil {
		return nil, err
	}
	c, err := m.shrunk(r.Ctx, row, asked)
	if err != nil {
		return nil, err
	}
	return m.enclose(r, c)
}

// enclose writes content as the second part of a multipart answer, or says there where it is.
func (m *Repository) enclose(r *api.Request, c content) (any, error) {
	head := textproto.MIMEHeader{}
	location, err := m.elsewhere(r, fresh, c)
	if err != nil {
		return nil, err
	}
	var from io.ReadSeekCloser
	if location != "" {
		head.Set("Location", location)
	} else {
		head.Set("Content-Type", c.contentType)
		head.Set("Content-Disposition", c.disposition)
		if from, err = m.open(r.Ctx, c); err != nil {
			return nil, err
		}
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		if from != nil {
			defer from.Close() //nolint:errcheck // it was only read
		}
		parts := multipart.NewWriter(&unhurried{ResponseWriter: w, control: http.NewResponseController(w)})
		w.Header().Set("Content-Type", "multipart/mixed; boundary="+parts.Boundary())
		w.Header().Set(gzhttp.HeaderNoCompression, "1")
		if err := writeParts(parts, head, from); err != nil {
			m.Log.Debug("media was not taken to its end", "origin", r.Origin, "error", err)
			panic(http.ErrAbortHandler) // so that what was sent does not look whole
		}
		return nil
	}), nil
}

// writeParts writes what is known of the media, which is nothing yet, and the media.
func writeParts(parts *multipart.Writer, head textproto.MIMEHeader, from io.Reader) error {
	about, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(about, "{}"); err != nil {
		return err
	}
	file, err := parts.CreatePart(head)
	if err != nil {
		return err
	}
	if from != nil {
		if _, err := io.Copy(file, from); err != nil {
			return err
		}
	}
	return parts.Close()
}
