package media_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

const thumbnails = "/_matrix/client/v1/media/thumbnail/"

func photo(t *testing.T, w, h int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(i*7) | 3
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func movie(t *testing.T, w, h int) []byte {
	t.Helper()
	g := &gif.GIF{}
	for i := range 3 {
		frame := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black, color.White})
		for j := range frame.Pix {
			frame.Pix[j] = uint8((i + j) % 2)
		}
		g.Image, g.Delay = append(g.Image, frame), append(g.Delay, 10)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestThumbnails(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	large, moving := alice.upload(photo(t, 700, 350), "image/jpeg", "?filename=secret.jpg"), alice.upload(movie(t, 330, 330), "image/gif", "")
	lying := alice.upload(photo(t, 490, 490), "text/html", "")
	tests := []struct {
		name, query string
		kind        string
		w, h        int
	}{
		{large, "width=320&height=240", "image/jpeg", 320, 160},
		{large, "width=320&height=240&method=scale", "image/jpeg", 320, 160},
		{large, "width=321&height=10", "image/jpeg", 640, 320},
		{large, "width=1&height=1&method=crop", "image/jpeg", 32, 32},
		{large, "width=96&height=96&method=crop", "image/jpeg", 96, 96},
		{large, "width=100&height=50&method=crop", "image/jpeg", 240, 120},
		{large, "width=5000&height=5000", "image/jpeg", 700, 350},
		{large, "width=1700&height=10", "image/jpeg", 700, 350},
		{large, "width=320&height=240&animated=true", "image/jpeg", 320, 160},
		{moving, "width=96&height=96&method=crop", "image/jpeg", 96, 96},
		{moving, "width=96&height=96&method=crop&animated=false", "image/jpeg", 96, 96},
		{moving, "width=96&height=96&method=crop&animated=true", "image/gif", 96, 96},
		{moving, "width=800&height=600&animated=true", "image/gif", 330, 330},
		{moving, "width=800&height=600", "image/jpeg", 330, 330},
		{lying, "width=640&height=480", "image/jpeg", 480, 480},
		{lying, "width=640&height=640", "image/jpeg", 490, 490},
	}
	for _, again := range []bool{false, true} { // the second time it is stored
		for _, test := range tests {
			a := alice.get(thumbnails+test.name+"?"+test.query).ok().has("Content-Type", test.kind,
				"Content-Disposition", `inline; filename="thumbnail.`+test.kind[len("image/"):]+`"`, "X-Content-Type-Options", "nosniff")
			img, kind, err := image.Decode(bytes.NewReader(a.body))
			if err != nil || "image/"+kind != test.kind || img.Bounds().Dx() != test.w || img.Bounds().Dy() != test.h {
				t.Errorf("%s (again: %v): %v %s %v", test.query, again, img.Bounds(), kind, err)
			}
		}
	}
	for _, query := range []string{"", "width=10", "height=10"} {
		alice.get(thumbnails+large+"?"+query).refused(http.StatusBadRequest, "M_MISSING_PARAM")
	}
	for _, query := range []string{"width=0&height=1", "width=1&height=-1", "width=a&height=1", "width=1&height=1&method=twist", "width=1&height=1&animated=2"} {
		alice.get(thumbnails+large+"?"+query).refused(http.StatusBadRequest, "M_INVALID_PARAM")
	}
	w.nobody().get(thumbnails+large+"?width=10&height=10").refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	w.nobody().get("/_matrix/media/v3/thumbnail/"+large+"?width=10&height=10").refused(http.StatusNotFound, "M_NOT_FOUND")
}

// TestBlurHash: clients that ask for it get a sketch with the upload.
func TestBlurHash(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	const path = "/_matrix/media/v3/upload"
	for range 2 { // the second time the content is shared
		a := alice.do(http.MethodPost, path+"?xyz.amorgan.generate_blurhash=true", bytes.NewReader(photo(t, 300, 200))).ok()
		if hash := a.at("blurhash").Str; len(hash) != 28 || a.at("xyz\\.amorgan\\.blurhash").Str != hash {
			t.Errorf("%s", a.body)
		}
	}
	for query, content := range map[string][]byte{"": photo(t, 300, 200), "?generate_blurhash=true": []byte("no picture")} {
		if a := alice.do(http.MethodPost, path+query, bytes.NewReader(content)).ok(); a.at("blurhash").Exists() {
			t.Errorf("%s: %s", query, a.body)
		}
	}
}

func TestNoThumbnails(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	whole := photo(t, 600, 600)
	var bomb bytes.Buffer
	if err := png.Encode(&bomb, image.NewGray(image.Rect(0, 0, 2_100, 2_000))); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content []byte
		status  int
		code    string
	}{
		"text":            {[]byte("hello"), http.StatusBadRequest, "M_UNKNOWN"},
		"empty":           {nil, http.StatusBadRequest, "M_UNKNOWN"},
		"truncated":       {whole[:len(whole)/2], http.StatusBadRequest, "M_UNKNOWN"},
		"SVG":             {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), http.StatusBadRequest, "M_UNKNOWN"},
		"too many pixels": {bomb.Bytes(), http.StatusRequestEntityTooLarge, "M_TOO_LARGE"},
	} {
		media := alice.upload(test.content, "image/png", "")
		a := alice.get(thumbnails + media + "?width=32&height=32&method=crop")
		if a.status != test.status || a.at("errcode").Str != test.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestHostileRemoteMedia: what other servers send is trusted no more than what users upload, and nothing of it is made smaller or shown
// that would not be of theirs.
func TestHostileRemoteMedia(t *testing.T) {
	t.Parallel()
	other := &remote{}
	w := start(t, func(o *media.Options) { o.Remote = other })
	alice := w.user("alice")
	var grey, bomb bytes.Buffer
	if err := jpeg.Encode(&grey, image.NewGray(image.Rect(0, 0, 600, 600)), nil); err != nil {
		t.Fatal(err)
	}
	whole := grey.Bytes()
	scan := whole[bytes.LastIndex(whole, []byte{0xff, 0xda}) : len(whole)-2]
	if err := png.Encode(&bomb, image.NewGray(image.Rect(0, 0, 2_100, 2_000))); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content     []byte
		kind, shown string // as they are served
		status      int    // of the thumbnail
		code        string
	}{
		"SVG":                              {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), "image/svg+xml", "attachment", http.StatusBadRequest, "M_UNKNOWN"},
		"a page that says it is a picture": {[]byte("<script>alert(1)</script>"), "image/png", "inline", http.StatusBadRequest, "M_UNKNOWN"},
		"truncated":                        {whole[:len(whole)/2], "image/jpeg", "inline", http.StatusBadRequest, "M_UNKNOWN"},
		"too many pixels":                  {bomb.Bytes(), "image/png", "inline", http.StatusBadGateway, "M_TOO_LARGE"},
		"too many scans": {slices.Concat(whole[:len(whole)-2], bytes.Repeat(scan, 200), whole[len(whole)-2:]),
			"image/jpeg", "inline", http.StatusBadRequest, "M_UNKNOWN"},
	} {
		other.file = func() (*media.RemoteFile, error) {
			return &media.RemoteFile{Body: io.NopCloser(bytes.NewReader(test.content)), Size: -1, Type: test.kind}, nil
		}
		id := "other.example/" + strings.ReplaceAll(name, " ", "-")
		alice.get(downloads+id).ok().has("Content-Type", test.kind, "Content-Disposition", test.shown, "X-Content-Type-Options", "nosniff",
			"Content-Security-Policy", "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';",
			"Cross-Origin-Resource-Policy", "cross-origin")
		if a := alice.get(thumbnails + id + "?width=32&height=32"); a.status != test.status || a.at("errcode").Str != test.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	// What breaks off is not kept, and is fetched again.
	objects := w.objects()
	other.file = func() (*media.RemoteFile, error) {
		return &media.RemoteFile{Body: io.NopCloser(io.MultiReader(bytes.NewReader(whole[:500]), iotest.ErrReader(io.ErrUnexpectedEOF))), Size: -1, Type: "image/jpeg"}, nil
	}
	alice.get(downloads+"other.example/broken").refused(http.StatusBadGateway, "M_UNKNOWN")
	if n := w.objects(); n != objects {
		t.Errorf("%d objects, not %d", n, objects)
	}
	other.file = func() (*media.RemoteFile, error) {
		return &media.RemoteFile{Body: io.NopCloser(bytes.NewReader(whole)), Size: -1, Type: "image/jpeg"}, nil
	}
	alice.get(downloads + "other.example/broken").ok()
}

// TestThumbnailsAreBounded: no matter what proportions are asked for, only so many are stored.
func TestThumbnailsAreBounded(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	name := alice.upload(photo(t, 200, 200), "image/jpeg", "")
	for i := range 45 {
		alice.get(fmt.Sprintf("%s%s?width=96&height=%d&method=crop", thumbnails, name, i+10)).ok()
	}
	rows, err := schema.BlobThumbnails.All(t.Context(), w.rows, persistence.Range[schema.BlobThumbnail]{})
	if err != nil || len(rows) != 40 {
		t.Errorf("%d thumbnails, %v", len(rows), err)
	}
	if n := w.objects(); n != 41 {
		t.Errorf("%d objects", n)
	}
}
