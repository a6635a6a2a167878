package media

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The sizes that are made. What is asked for is the least size, and the next one of these is given, so that few are stored.
var (
	scaledSizes  = []picture.Size{{Width: 320, Height: 240}, {Width: 640, Height: 480}, {Width: 800, Height: 600}, {Width: 1600, Height: 1200}}
	croppedSides = []int{32, 96, 240, 480, 960, 1600} // the longer side; the proportions are those that are asked for
)

const (
	largestSide = 100_000 // pixels that can be asked for
	// mostThumbnails bounds what is stored for one picture. Proportions can be asked for without end.
	mostThumbnails = 40
	// makingTimeout bounds the wait for a thumbnail, mostly for a place in the workshop.
	makingTimeout = time.Minute
)

// thumbnail serves a smaller version of a picture, or the picture itself where it is small already.
func (m *Repository) thumbnail(a access) api.Handler {
	return func(r *api.Request) (any, error) {
		asked, err := askedSize(r)
		if err != nil {
			return nil, err
		}
		row, err := m.wanted(r, a)
		if err != nil {
			return nil, err
		}
		c, err := m.shrunk(r.Ctx, row, asked)
		if err != nil {
			return nil, err
		}
		return m.serve(r, a, c)
	}
}

// shrunk gives the content that is served for a size.
func (m *Repository) shrunk(ctx context.Context, row schema.Media, asked picture.Size) (content, error) {
	info, err := m.inspect(ctx, row)
	if err != nil {
		return content{}, notMade(err, row.Server != m.ServerName)
	}
	size, original := chooseSize(asked, info)
	c := content{object: row.Blob, size: row.Size, etag: base64.RawURLEncoding.EncodeToString(row.SHA256), contentType: info.Type}
	if !original {
		made, err := m.smaller(ctx, row, info, size)
		if err != nil {
			return content{}, notMade(err, row.Server != m.ServerName)
		}
		c.contentType, c.etag = made.row.Type, c.etag+"-"+made.row.Variant
		c.object, c.size, c.held = made.row.Object, made.row.Size, made.held
	}
	name := "thumbnail." + strings.TrimPrefix(c.contentType, "image/")
	c.disposition = disposition(true, &name)
	return c, nil
}

// askedSize reads what a client wants.
func askedSize(r *api.Request) (picture.Size, error) {
	var s picture.Size
	for name, side := range map[string]*int{"width": &s.Width, "height": &s.Height} {
		if _, err := r.Need(name); err != nil {
			return s, err
		}
		n, err := r.Int(name, 0, 1, largestSide)
		if err != nil {
			return s, err
		}
		*side = int(n)
	}
	method, err := r.Enum("method", "scale", "scale", "crop")
	if err != nil {
		return s, err
	}
	s.Crop = method == "crop"
	s.Animated, err = r.Bool("animated", false)
	return s, err
}

// chooseSize gives the size that is made for what was asked, or says that the original is what is wanted: it is no larger, or not
// much, and it does not move unless that is wanted.
func chooseSize(asked picture.Size, info picture.Info) (picture.Size, bool) {
	still := !info.Animated || asked.Animated
	whole := picture.Size{Width: info.Width, Height: info.Height, Animated: asked.Animated && info.Animated}
	if info.Width <= asked.Width && info.Height <= asked.Height {
		return whole, still
	}
	if asked.Crop {
		s := croppedSize(asked)
		s.Animated = whole.Animated
		return s, false
	}
	for _, s := range scaledSizes {
		if asked.Width <= s.Width && asked.Height <= s.Height {
			s.Animated = whole.Animated
			return s, still && info.Width <= s.Width && info.Height <= s.Height
		}
	}
	return whole, still
}

// croppedSize has the proportions that are asked for, and a longer side of those that are made.
func croppedSize(asked picture.Size) picture.Size {
	long := max(asked.Width, asked.Height)
	side := long
	for _, s := range croppedSides {
		if long <= s {
			side = s
			break
		}
	}
	// Rounded up: neither side may be smaller than was asked for.
	grown := func(n int) int { return (n*side + long - 1) / long }
	return picture.Size{Width: grown(asked.Width), Height: grown(asked.Height), Crop: true}
}

// inspect reads what kind of picture it is from its beginning.
func (m *Repository) inspect(ctx context.Context, row schema.Media) (picture.Info, error) {
	from := blobs.NewSeeker(ctx, m.Blobs, row.Blob, row.Size)
	defer from.Close() //nolint:errcheck // it was only read
	return picture.Inspect(from)
}

// notMade tells the client why there is no thumbnail.
func notMade(err error, remote bool) error {
	switch {
	case errors.Is(err, picture.ErrNoPicture):
		return mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "cannot make a thumbnail of this content")
	case errors.Is(err, picture.ErrTooLarge) && remote:
		return mxerr.New(http.StatusBadGateway, "M_TOO_LARGE", "the picture is too large to make a thumbnail of it")
	case errors.Is(err, picture.ErrTooLarge):
		return mxerr.TooLarge("the picture is too large to make a thumbnail of it")
	case errors.Is(err, context.DeadlineExceeded):
		return mxerr.LimitExceeded(makingTimeout.Milliseconds() / 10)
	case errors.Is(err, blobs.ErrNotFound):
		return mxerr.NotFound("the content of this media is lost")
	}
	return err
}

// made is a thumbnail, with its data when it has just been made.
type made struct {
	row  schema.BlobThumbnail
	held []byte
}

// smaller gives a thumbnail that was made before, or makes it. Requests of one node for the same share the work.
func (m *Repository) smaller(ctx context.Context, row schema.Media, info picture.Info, s picture.Size) (made, error) {
	key := schema.BlobThumbnail{Name: row.Blob, Variant: variant(s)}
	stored, there, err := schema.BlobThumbnails.Get(ctx, m.Rows, key)
	if err != nil || there {
		return made{row: stored}, err
	}
	done := m.making.DoChan(key.Name+"/"+key.Variant, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makingTimeout)
		defer cancel()
		return m.make(ctx, row, info, s, key)
	})
	select {
	case <-ctx.Done():
		return made{}, ctx.Err()
	case result := <-done:
		t, _ := result.Val.(made)
		return t, result.Err
	}
}

// variant names the size, as part of an object's name.
func variant(s picture.Size) string {
	v := fmt.Sprintf("%dx%d-scale", s.Width, s.Height)
	if s.Crop {
		v = fmt.Sprintf("%dx%d-crop", s.Width, s.Height)
	}
	if s.Animated {
		v += "-animated"
	}
	return v
}

func (m *Repository) make(ctx context.Context, row schema.Media, info picture.Info, s picture.Size, key schema.BlobThumbnail) (made, error) {
	from := blobs.NewSeeker(ctx, m.Blobs, row.Blob, row.Size)
	defer from.Close() //nolint:errcheck // it was only read
	t, err := m.Pictures.Thumbnail(ctx, from, info, s)
	if err != nil {
		return made{}, err
	}
	key.Object, key.Type, key.Size = row.Blob+thumbnailMark+key.Variant+"."+newObject(), t.Type, int64(len(t.Data))
	if err := m.storeThumbnail(ctx, key, t.Data); err != nil {
		m.Log.Warn("a thumbnail could not be stored", "error", err)
	}
	return made{key, t.Data}, nil
}

// thumbnailMark stands in the names of objects that are thumbnails, between the name of the blob and the variant, after which
// comes what makes the name unique.
const thumbnailMark = ".t-"

// storeThumbnail keeps a thumbnail for the next who asks, unless there are many already.
func (m *Repository) storeThumbnail(ctx context.Context, row schema.BlobThumbnail, data []byte) error {
	others, err := schema.BlobThumbnails.All(ctx, m.Rows, persistence.Range[schema.BlobThumbnail]{
		Prefix: schema.BlobThumbnail{Name: row.Name}, Keys: 1, Limit: mostThumbnails})
	if err != nil || len(others) == mostThumbnails {
		return err
	}
	if err := m.Blobs.Put(ctx, row.Object, bytes.NewReader(data), row.Size); err != nil {
		return err
	}
	put := schema.BlobThumbnails.Put(row)
	_, err = persistence.Await(ctx, m.Rows, &persistence.Commit{Write: []persistence.Mutation{put}, Absent: []persistence.Mutation{
		put, schema.BlobReleases.Put(schema.BlobRelease{Name: row.Name}), fence(m.StoreID)}})
	if errors.Is(err, persistence.ErrExists) { // another node was quicker, or the picture is going
		return m.Blobs.Delete(ctx, row.Object)
	}
	return err
}
