package media

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/http/media/preview"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of previews.
const (
	maxPreviewPicture = 10 << 20        // bytes
	failureMemory     = 5 * time.Minute // how long a page that could not be had is not asked for again
	previewsAtOnce    = 16              // on one node
	previewTimeout    = 45 * time.Second
)

// preview tells what a web page says about itself.
func (m *Repository) preview(r *api.Request) (any, error) {
	asked, err := r.Need("url")
	if err != nil {
		return nil, err
	}
	if _, err := r.Int("ts", 0, 0, 1<<62); err != nil { // only the newest is kept
		return nil, err
	}
	at, err := preview.CheckURL(asked)
	if err != nil {
		return nil, mxerr.InvalidParam("there are previews of http:// and https:// addresses only")
	}
	hash := sha256.Sum256([]byte(at.String()))
	row, there, err := schema.Previews.Get(r.Ctx, m.Rows, schema.Preview{Hash: hash[:]})
	if err != nil {
		return nil, err
	}
	if !there || row.ExpiresTS <= r.Now.UnixMilli() {
		if row, err = m.lookAt(r.Ctx, at, hash[:]); err != nil {
			return nil, err
		}
	}
	if len(row.OpenGraph) == 0 {
		return nil, mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "the page could not be fetched")
	}
	return jsontext.Value(row.OpenGraph), nil
}

// lookAt fetches the page. Requests of one node for the same share the work.
func (m *Repository) lookAt(ctx context.Context, at *url.URL, hash []byte) (schema.Preview, error) {
	done := m.looking.DoChan(at.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), previewTimeout)
		defer cancel()
		if err := m.previews.Acquire(ctx, 1); err != nil {
			return nil, mxerr.LimitExceeded(previewTimeout.Milliseconds())
		}
		defer m.previews.Release(1)
		return m.look(ctx, at, hash)
	})
	select {
	case <-ctx.Done():
		return schema.Preview{}, ctx.Err()
	case result := <-done:
		row, _ := result.Val.(schema.Preview)
		return row, result.Err
	}
}

// look fetches the page and its picture, and remembers what came of it.
func (m *Repository) look(ctx context.Context, at *url.URL, hash []byte) (schema.Preview, error) {
	now := m.Now()
	row := schema.Preview{Hash: hash, URL: at.String(), FetchedTS: now.UnixMilli(), ExpiresTS: now.Add(m.PreviewLifetime).UnixMilli()}
	found, err := m.Pages.Preview(ctx, at)
	switch {
	case errors.Is(err, outbound.ErrForbidden):
		return row, mxerr.Forbidden("this server makes no previews of addresses in private networks")
	case err != nil:
		m.Log.Debug("no preview", "error", err)
		row.ExpiresTS = now.Add(min(failureMemory, m.PreviewLifetime)).UnixMilli()
	default:
		properties := map[string]any{}
		for name, value := range found.OpenGraph {
			properties[name] = value
		}
		maps.DeleteFunc(properties, func(name string, _ any) bool { return aboutPicture(name) }) // what it says itself; we look
		if found.Picture != nil {
			row.MediaID, err = m.previewPicture(ctx, found.Picture, properties)
			if err != nil {
				m.Log.Debug("no picture for a preview", "error", err)
			}
		}
		if row.OpenGraph, err = json.Marshal(properties, json.Deterministic(true)); err != nil {
			return row, err
		}
	}
	_, err = persistence.Await(ctx, m.Rows, &persistence.Commit{Write: []persistence.Mutation{schema.Previews.Put(row)}})
	return row, err
}

func aboutPicture(name string) bool {
	switch name {
	case "og:image", "og:image:url", "og:image:secure_url", "og:image:type", "og:image:width", "og:image:height":
		return true
	}
	return false
}

// previewPicture keeps the picture of a page and describes it.
func (m *Repository) previewPicture(ctx context.Context, at *url.URL, properties map[string]any) (string, error) {
	body, err := m.Pages.Picture(ctx, at)
	if err != nil {
		return "", err
	}
	defer body.Close()
	o, err := m.put(ctx, &bounded{r: body, left: maxPreviewPicture, beyond: picture.ErrTooLarge}, -1)
	if err != nil {
		return "", err
	}
	row := schema.Media{Server: m.ServerName, MediaID: newMediaID(), Origin: fromPreview, Blob: o.name, Size: o.size}
	info, err := m.inspect(ctx, row)
	if err != nil {
		m.discard(ctx, o.name)
		return "", err
	}
	row.Type = info.Type
	if row, err = m.keep(ctx, o, row); err != nil {
		return "", err
	}
	properties["og:image"] = m.uri(row.MediaID)
	properties["og:image:type"] = info.Type
	properties["og:image:width"], properties["og:image:height"] = info.Width, info.Height
	properties["matrix:image:size"] = row.Size
	return row.MediaID, nil
}
