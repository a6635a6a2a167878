package media_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/blobs/database"
	"github.com/matrixon/matrixon/persistence/blobs/folder"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (w *world) sweep() {
	w.t.Helper()
	if err := w.media.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.media.Sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// count counts what is in a table.
func count[R any](w *world, table *persistence.Table[R]) int {
	w.t.Helper()
	all, err := table.All(w.t.Context(), w.rows, persistence.Range[R]{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

func (w *world) delete(name string) {
	w.t.Helper()
	server, mediaID, _ := strings.Cut(name, "/")
	f, err := w.media.Lookup(w.t.Context(), server, mediaID)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.media.Delete(w.t.Context(), f.Media); err != nil {
		w.t.Fatal(err)
	}
}

func TestContentGoesWithItsLastMedia(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice, bob := w.user("alice"), w.user("bob")
	content := photo(t, 300, 300)
	first, second := alice.upload(content, "image/jpeg", ""), bob.upload(content, "image/jpeg", "")
	alice.get(thumbnails + first + "?width=32&height=32&method=crop").ok()
	if n := w.objects(); n != 2 {
		t.Fatalf("%d objects", n)
	}
	w.delete(first)
	alice.get(downloads+first).refused(http.StatusNotFound, "M_NOT_FOUND")
	bob.get(downloads + second).ok()
	w.delete(second)
	if n := w.objects(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
	third := bob.upload(content, "image/jpeg", "") // the released object is not taken for it
	bob.get(downloads + third).ok()
	bob.get(thumbnails + third + "?width=32&height=32&method=crop").ok()
	w.delete(third)
	w.advance(48 * time.Hour)
	w.sweep()
	for name, n := range map[string]int{"media": count(w, schema.MediaFiles), "of users": count(w, schema.MediaOfUsers), "blobs": count(w, schema.Blobs),
		"hashes": count(w, schema.BlobsByHash), "uses": count(w, schema.BlobUses), "thumbnails": count(w, schema.BlobThumbnails),
		"releases": count(w, schema.BlobReleases)} {
		if n != 0 {
			t.Errorf("%d rows of %s are left", n, name)
		}
	}
}

// TestUploadsAndDeletionsOfTheSameContent: whatever meets, what was uploaded and not deleted can be had.
func TestUploadsAndDeletionsOfTheSameContent(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	content := noise(3000)
	var wait sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		u := w.user(name)
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range 15 {
				media := u.upload(content, "a/b", "")
				if a := u.get(downloads + media); a.status != http.StatusOK || !bytes.Equal(a.body, content) {
					t.Errorf("%d: %d %.100s", i, a.status, a.body)
					return
				}
				w.delete(media)
			}
		}()
	}
	wait.Wait()
	w.sweep()
	if n := w.objects(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := folder.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, func(o *media.Options) { o.Blobs, o.Retention = files, media.Retention{Local: 30 * 24 * time.Hour} })
	alice := w.user("alice")
	old, used := alice.upload(noise(100), "a/b", ""), alice.upload(noise(100), "a/b", "")
	alice.do(http.MethodPost, "/_matrix/media/v1/create", nil).ok()
	w.sweep()
	if n := count(w, schema.MediaFiles); n != 3 {
		t.Errorf("%d media at once", n)
	}
	w.advance(time.Hour)
	w.sweep()
	if n := count(w, schema.MediaFiles); n != 2 {
		t.Errorf("%d media after the id has expired", n)
	}
	w.advance(25 * 24 * time.Hour)
	alice.get(downloads + used).ok()
	w.sweep()
	w.advance(10 * 24 * time.Hour)
	w.sweep()
	alice.get(downloads+old).refused(http.StatusNotFound, "M_NOT_FOUND")
	alice.get(downloads + used).ok()
	if n := w.objects(); n != 1 {
		t.Errorf("%d objects", n)
	}
}

// TestWhatNothingKnows: an object that a dying node has left goes after a day; the clock of the world is far ahead of the folder's.
func TestWhatNothingKnows(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	name := alice.upload(photo(t, 300, 300), "image/jpeg", "")
	alice.get(thumbnails + name + "?width=32&height=32&method=crop").ok()
	for _, orphan := range []string{"abcdefghijk", "abcdefghijk.t-32x32-crop.abcdef"} {
		if err := w.blobs.Put(t.Context(), orphan, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	w.advance(time.Since(w.time()) + time.Hour)
	w.sweep()
	if n := w.objects(); n != 4 {
		t.Errorf("%d objects after an hour", n)
	}
	w.advance(24 * time.Hour)
	w.sweep()
	if n := w.objects(); n != 2 {
		t.Errorf("%d objects after a day", n)
	}
	alice.get(downloads + name).ok()
}

func TestPicturesOfPreviewsGo(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/pic", func(w http.ResponseWriter, _ *http.Request) { w.Write(photo(t, 50, 50)) }) //nolint:errcheck // the test sees it
	w, at := web(t, mux, "127.0.0.0/8")
	alice := w.user("alice")
	name, _ := strings.CutPrefix(alice.get(previews+at+"/pic").ok().at("og:image").Str, "mxc://")
	w.advance(2 * time.Hour)
	w.sweep()
	alice.get(downloads + name).ok() // clients still show it
	if n := count(w, schema.Previews); n != 0 {
		t.Errorf("%d previews", n)
	}
	w.advance(24 * time.Hour)
	w.sweep()
	alice.get(downloads+name).refused(http.StatusNotFound, "M_NOT_FOUND")
	if n := w.objects() + count(w, schema.MediaFiles) + count(w, schema.MediaOfUsers); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

func bind(t *testing.T, rows persistence.Store, store blobs.Store) string {
	t.Helper()
	id, err := media.Bind(t.Context(), rows, store)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newFolder(t *testing.T) *folder.Store {
	t.Helper()
	s, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRows(t *testing.T) persistence.Store {
	t.Helper()
	rows := memory.New(memory.Options{})
	t.Cleanup(func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	})
	return rows
}

func TestAStoreBelongsToItsDatabase(t *testing.T) {
	t.Parallel()
	rows, mine := newRows(t), newFolder(t)
	ids := make(chan string)
	for range 4 { // the nodes of a cluster start together
		go func() {
			id, err := media.Bind(context.Background(), rows, mine)
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range 3 {
		if id := <-ids; id != first || id == "" {
			t.Errorf("%q and %q", id, first)
		}
	}
	if _, err := media.Bind(t.Context(), rows, newFolder(t)); !errors.Is(err, media.ErrOtherStore) {
		t.Errorf("an empty store: %v", err)
	}
	other := newFolder(t)
	bind(t, newRows(t), other)
	if _, err := media.Bind(t.Context(), rows, other); !errors.Is(err, media.ErrOtherStore) {
		t.Errorf("another's store: %v", err)
	}
	if _, err := media.Bind(t.Context(), newRows(t), mine); !errors.Is(err, media.ErrOtherStore) {
		t.Errorf("another's database: %v", err)
	}
}

func TestMove(t *testing.T) {
	t.Parallel()
	from := newFolder(t)
	w := start(t, func(o *media.Options) { o.Blobs, o.StoreID = from, bind(t, o.Rows, from) })
	alice := w.user("alice")
	var names []string
	contents := map[string][]byte{}
	for i := range 10 {
		content := noise(i * 100_000)
		name := alice.upload(content, "a/b", "")
		names, contents[name] = append(names, name), content
	}
	to := database.New(w.rows, w.time)
	// The first attempt breaks off.
	if err := media.Move(t.Context(), w.rows, from, &stumbling{Store: to, left: 5}, func(media.Progress) {}); !errors.Is(err, errStumbled) {
		t.Fatalf("the first attempt: %v", err)
	}
	alice.upload([]byte("meanwhile"), "a/b", "")
	bind(t, w.rows, from)
	if _, err := media.Bind(t.Context(), w.rows, to); !errors.Is(err, media.ErrOtherStore) {
		t.Errorf("the target before the end: %v", err)
	}
	var last media.Progress
	if err := media.Move(t.Context(), w.rows, from, to, func(p media.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Objects != 11 || last.Total != 11 || last.Bytes != 4_500_009 {
		t.Errorf("progress: %+v", last)
	}
	// A node that still has the old store gives content but takes none.
	alice.get(downloads + names[3]).ok()
	alice.do(http.MethodPost, "/_matrix/media/v3/upload", strings.NewReader("late")).refused(http.StatusServiceUnavailable, "M_UNKNOWN")
	if _, err := media.Bind(t.Context(), w.rows, from); !errors.Is(err, media.ErrOtherStore) {
		t.Errorf("the old store after the move: %v", err)
	}
	w.media.Blobs, w.media.StoreID = to, bind(t, w.rows, to)
	for _, name := range names {
		if a := alice.get(downloads + name).ok(); !bytes.Equal(a.body, contents[name]) {
			t.Errorf("%s: %d bytes", name, len(a.body))
		}
	}
	alice.upload([]byte("new"), "a/b", "")
	if err := media.Move(t.Context(), w.rows, to, from, func(media.Progress) {}); !errors.Is(err, media.ErrOtherStore) {
		t.Errorf("back into a store that is not empty: %v", err)
	}
}

// stumbling fails after some objects.
type stumbling struct {
	blobs.Store
	left int
}

var errStumbled = errors.New("stumbled")

func (s *stumbling) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if s.left--; s.left < 0 {
		return errStumbled
	}
	return s.Store.Put(ctx, name, r, size)
}

// remote is another server.
type remote struct {
	mu      sync.Mutex
	fetched int
	file    func() (*media.RemoteFile, error)
}

func (r *remote) Fetch(context.Context, string, string, time.Duration) (*media.RemoteFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched++
	return r.file()
}

func TestRemoteMedia(t *testing.T) {
	t.Parallel()
	other := &remote{}
	w := start(t, func(o *media.Options) { o.Remote, o.Retention = other, media.Retention{Remote: 24 * time.Hour} })
	alice := w.user("alice")
	const name = "other.example/abc"
	content, filename := photo(t, 400, 400), "theirs.jpg"
	other.file = func() (*media.RemoteFile, error) {
		return &media.RemoteFile{Body: io.NopCloser(bytes.NewReader(content)), Size: -1, Type: "image/jpeg", Filename: &filename}, nil
	}
	w.nobody().get(oldDownloads+name).refused(http.StatusNotFound, "M_NOT_FOUND")
	var wait sync.WaitGroup
	for range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if a := alice.get(downloads+name).ok().has("Content-Type", "image/jpeg", "Content-Disposition", `inline; filename="theirs.jpg"`); !bytes.Equal(a.body, content) {
				t.Errorf("%d bytes", len(a.body))
			}
		}()
	}
	wait.Wait()
	alice.get(thumbnails + name + "?width=32&height=32&method=crop").ok()
	if other.fetched != 1 {
		t.Errorf("it was fetched %d times", other.fetched)
	}
	mine := alice.upload(content, "image/jpeg", "") // shares the content
	if n := w.objects(); n != 2 {
		t.Errorf("%d objects", n)
	}
	w.advance(3 * 24 * time.Hour)
	w.sweep()
	alice.get(downloads + mine).ok()
	alice.get(downloads + name).ok()
	if other.fetched != 2 {
		t.Errorf("after it was forgotten it was fetched %d times", other.fetched)
	}
	for wrong, test := range map[string]struct {
		file   func() (*media.RemoteFile, error)
		status int
		code   string
	}{
		"not there": {func() (*media.RemoteFile, error) { return nil, mxerr.NotFound("no") }, http.StatusNotFound, "M_NOT_FOUND"},
		"down":      {func() (*media.RemoteFile, error) { return nil, errStumbled }, http.StatusBadGateway, "M_UNKNOWN"},
		"large": {func() (*media.RemoteFile, error) {
			return &media.RemoteFile{Body: io.NopCloser(strings.NewReader("")), Size: 1<<20 + 1}, nil
		}, http.StatusBadGateway, "M_TOO_LARGE"},
		"endless": {func() (*media.RemoteFile, error) {
			return &media.RemoteFile{Body: io.NopCloser(endless{}), Size: -1}, nil
		}, http.StatusBadGateway, "M_TOO_LARGE"},
	} {
		other.file = test.file
		if a := alice.get(downloads + "other.example/wrong"); a.status != test.status || a.at("errcode").Str != test.code {
			t.Errorf("%s: %d %s", wrong, a.status, a.body)
		}
	}
}

// TestRemoteMediaTakesOnlySoMuch: what nobody has fetched for longest goes first, and can be fetched again.
func TestRemoteMediaTakesOnlySoMuch(t *testing.T) {
	t.Parallel()
	other := &remote{}
	w := start(t, func(o *media.Options) { o.Remote, o.Retention = other, media.Retention{RemoteSize: 10_000} })
	alice := w.user("alice")
	other.file = func() (*media.RemoteFile, error) {
		return &media.RemoteFile{Body: io.NopCloser(bytes.NewReader(noise(1000))), Size: -1}, nil
	}
	name := func(i int) string { return fmt.Sprintf("%sother.example/%d", downloads, i) }
	mine := alice.upload(noise(20_000), "a/b", "")
	for i := range 10 {
		alice.get(name(i)).ok()
		w.advance(24 * time.Hour)
	}
	alice.get(name(2)).ok()
	w.sweep()
	if n := count(w, schema.MediaFiles); n != 11 {
		t.Errorf("%d files before there are too many", n)
	}
	if !w.media.Grown() {
		alice.get(name(10)).ok()
		alice.get(name(11)).ok()
	}
	if !w.media.Grown() {
		t.Error("it does not say that there is much to sweep")
	}
	if err := w.media.SweepRemote(t.Context()); err != nil || w.media.Grown() {
		t.Error(err)
	}
	for i, want := range []bool{false, false, true, false, true, true, true, true, true, true, true, true} {
		_, there, err := schema.MediaFiles.Get(t.Context(), w.rows, schema.Media{Server: "other.example", MediaID: fmt.Sprint(i)})
		if err != nil || there != want {
			t.Errorf("%d is there: %v, %v", i, there, err)
		}
	}
	alice.get(downloads + mine).ok()
	alice.get(name(0)).ok()
}

// TestRemoteMediaIsFetchedOnlySoMuch: by each user, as far as it is not here.
func TestRemoteMediaIsFetchedOnlySoMuch(t *testing.T) {
	t.Parallel()
	other := &remote{}
	w := startLimited(t, map[api.Limit]api.Rate{api.LimitMediaRemote: {PerSecond: 100, Burst: 5000}}, func(o *media.Options) {
		o.Remote, o.MaxRemote = other, 10<<20
	})
	alice, bob := w.user("alice"), w.user("bob")
	other.file = func() (*media.RemoteFile, error) {
		return &media.RemoteFile{Body: io.NopCloser(bytes.NewReader(noise(3 << 20))), Size: -1}, nil
	}
	name := func(i int) string { return fmt.Sprintf("%sother.example/%d", downloads, i) }
	alice.get(name(0)).ok()
	alice.get(name(1)).refused(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")
	if n := w.objects(); n != 1 {
		t.Errorf("%d objects", n)
	}
	alice.get(name(0)).ok()
	bob.get(name(1)).ok()
	alice.get(name(1)).ok()
	w.advance(time.Minute)
	alice.get(name(2)).ok()
	before := other.fetched
	w.advance(time.Second / 100)
	for i := range 10 {
		bob.get(name(10 + i))
	}
	if other.fetched-before > 2 {
		t.Errorf("%d files were asked for by one who may fetch nothing more", other.fetched-before)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestRedirectsToTheStore(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *media.Options) {
		o.Blobs, o.Redirect, o.Public = presenting{newFolder(t)}, true, true
	})
	alice := w.user("alice")
	name := alice.upload([]byte("x"), "text/html", "?filename=a.html")
	for path, away := range map[string]bool{
		downloads + name: true, downloads + name + "?allow_redirect=true": true, downloads + name + "?allow_redirect=false": false,
		oldDownloads + name: false, oldDownloads + name + "?allow_redirect=true": true,
	} {
		a := alice.get(path)
		if away {
			want := "https://store.example/text/html; charset=utf-8/attachment; filename=\"a.html\"/5m0s"
			if a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != want {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
		} else if a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	alice.do(http.MethodHead, downloads+name, nil).ok()
}

// presenting has URLs that tell how the object is presented.
type presenting struct{ *folder.Store }

func (presenting) URL(_ context.Context, _ string, p blobs.Presentation) (string, error) {
	return "https://store.example/" + p.ContentType + "/" + p.ContentDisposition + "/" + p.Lifetime.String(), nil
}
