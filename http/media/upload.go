package media

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what comes with a file, in bytes.
const (
	maxFilename = 512
	maxType     = 255
)

// upload takes a file and names it.
func (m *Repository) upload(r *api.Request) (any, error) {
	mediaID := newMediaID()
	stored, err := m.take(r, &messages.StoreMedia{Server: m.ServerName, MediaId: mediaID})
	if err != nil {
		return nil, err
	}
	answer := map[string]string{"content_uri": m.uri(mediaID)}
	if hash := m.sketch(r, stored); hash != "" {
		answer["blurhash"], answer["xyz.amorgan.blurhash"] = hash, hash
	}
	return answer, nil
}

// sketch makes the BlurHash of a picture that was just uploaded, if the client wants it (MSC2448); empty when there is none.
func (m *Repository) sketch(r *api.Request, row schema.Media) string {
	wanted := r.Param("xyz.amorgan.generate_blurhash") == "true" || r.Param("generate_blurhash") == "true"
	if !wanted {
		return ""
	}
	info, err := m.inspect(r.Ctx, row)
	var hash string
	if err == nil {
		from := blobs.NewSeeker(r.Ctx, m.Blobs, row.Blob, row.Size)
		defer from.Close() //nolint:errcheck // it was only read
		hash, err = m.Pictures.BlurHash(r.Ctx, from, info)
	}
	if err != nil && !errors.Is(err, picture.ErrNoPicture) && !errors.Is(err, picture.ErrTooLarge) {
		m.Log.Warn("a picture could not be sketched", "error", err)
	}
	return hash
}

// create names a file that comes later.
func (m *Repository) create(r *api.Request) (any, error) {
	mediaID, ends := newMediaID(), r.Now.Add(m.PendingLifetime).UnixMilli()
	if _, err := askUser[*messages.Done](r.Ctx, m, r.User(), &messages.ReserveMedia{
		Server: m.ServerName, MediaId: mediaID, ExpiresTs: ends, MostPending: m.MostPending}); err != nil {
		return nil, err
	}
	return map[string]any{"content_uri": m.uri(mediaID), "unused_expires_at": ends}, nil
}

// uploadTo takes the file for a name that was made by create.
func (m *Repository) uploadTo(r *api.Request) (any, error) {
	server, mediaID := r.Vars["serverName"], r.Vars["mediaId"]
	if server != m.ServerName || !validMediaID(mediaID) {
		return nil, mxerr.NotFound("this server has no such media id")
	}
	if err := m.expected(r, mediaID); err != nil {
		return nil, err
	}
	_, err := m.take(r, &messages.StoreMedia{Server: server, MediaId: mediaID, Reserved: true})
	return nil, err
}

// expected refuses before the file comes what would be refused after it.
func (m *Repository) expected(r *api.Request, mediaID string) error {
	row, there, err := schema.MediaFiles.Get(r.Ctx, m.Rows, schema.Media{Server: m.ServerName, MediaID: mediaID})
	switch {
	case err != nil:
		return err
	case !there:
		return mxerr.NotFound("there is no such media id, or it has expired")
	case row.UserID != r.User():
		return mxerr.Forbidden("this media id was made by somebody else")
	case row.Blob != "":
		return mxerr.New(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "the media id has content already")
	case row.ExpiresTS <= r.Now.UnixMilli():
		return mxerr.NotFound("there is no such media id, or it has expired")
	}
	return nil
}

// newMediaID makes an id that cannot be guessed.
func newMediaID() string { return rand.Text() }

// newObject makes the name of an object, which nothing has had before.
func newObject() string { return strings.ToLower(rand.Text()) }

func (m *Repository) uri(mediaID string) string { return "mxc://" + m.ServerName + "/" + mediaID }

// validMediaID reports whether the id has only the characters that the specification allows.
func validMediaID(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// validMedia refuses what cannot be the name of media on any server.
func validMedia(server, mediaID string) error {
	if !id.ValidServerName(server) || !validMediaID(mediaID) {
		return mxerr.NotFound("there is no such media")
	}
	return nil
}

// take stores the body and has it recorded. It gives where the content is.
func (m *Repository) take(r *api.Request, s *messages.StoreMedia) (schema.Media, error) {
	var row schema.Media
	if length := r.HTTP.ContentLength; length > m.MaxUpload {
		return row, mxerr.TooLarge("files may have at most %d bytes", m.MaxUpload)
	}
	var err error
	if s.Type, err = declaredType(r.HTTP.Header.Get("Content-Type")); err != nil {
		return row, err
	}
	if r.Query().Has("filename") {
		name, err := declaredFilename(r.Query().Get("filename"))
		if err != nil {
			return row, err
		}
		s.Filename = &name
	}
	if err := m.underQuota(r.Ctx, r.User(), max(0, r.HTTP.ContentLength)); err != nil {
		return row, err
	}
	o, err := m.put(r.Ctx, &steady{r: r.Stream(), since: time.Now()}, r.HTTP.ContentLength)
	if err != nil {
		return row, err
	}
	row.Blob, err = m.record(r.Ctx, r.User(), o, s)
	row.Size = o.size
	return row, err
}

// declaredType keeps what the uploader says the file is.
func declaredType(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	base, _, err := mime.ParseMediaType(header)
	if errors.Is(err, mime.ErrInvalidMediaParameter) && len(base) <= maxType {
		return base, nil // what it is can be told
	}
	if err != nil || len(header) > maxType {
		return "", mxerr.InvalidParam("%.64q is no content type", header)
	}
	return header, nil
}

func declaredFilename(name string) (string, error) {
	if len(name) > maxFilename || !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", mxerr.InvalidParam("the filename must be valid text of at most %d bytes without control characters", maxFilename)
	}
	return name, nil
}

// underQuota spares those who are beyond their quota the upload. The user's actor decides.
func (m *Repository) underQuota(ctx context.Context, userID string, size int64) error {
	if m.QuotaFiles == 0 && m.QuotaBytes == 0 {
		return nil
	}
	usage, _, err := schema.MediaUsages.Get(ctx, m.Rows, schema.MediaUsage{UserID: userID})
	if err == nil && (m.QuotaFiles > 0 && usage.Files >= m.QuotaFiles || m.QuotaBytes > 0 && usage.Bytes+size > m.QuotaBytes) {
		err = mxerr.Forbidden("you have reached your quota of uploaded files")
	}
	return err
}

// object is content that has just been stored.
type object struct {
	name   string
	size   int64
	sha256 []byte
}

// put stores content under a name of its own. A negative size is one that is not known.
func (m *Repository) put(ctx context.Context, body io.Reader, size int64) (object, error) {
	o := object{name: newObject()}
	in := &hashed{r: body, hash: sha256.New()}
	if err := m.Blobs.Put(ctx, o.name, in, size); err != nil {
		if in.err != nil {
			return o, in.err // the body's own, whatever the store has made of it
		}
		return o, err
	}
	o.size, o.sha256 = in.size, in.hash.Sum(nil)
	return o, nil
}

// hashed counts and hashes what is read, and remembers why the reading failed.
type hashed struct {
	r    io.Reader
	hash hash.Hash
	size int64
	err  error
}

// Read implements io.Reader.
func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.hash.Write(p[:n])
	h.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		h.err = err
	}
	return n, err
}

// record has the user's actor record the content. What is then not needed is deleted again: the object, when another has the
// same content. It gives the name of the object that is used.
func (m *Repository) record(ctx context.Context, userID string, o object, s *messages.StoreMedia) (string, error) {
	err := m.refuseQuarantined(ctx, o.sha256)
	if err == nil {
		s.Same, err = m.same(ctx, o.sha256, o.size)
	}
	if err != nil {
		m.discard(ctx, o.name)
		return "", err
	}
	s.Blob, s.Sha256, s.Size = o.name, o.sha256, o.size
	s.Public, s.QuotaFiles, s.QuotaBytes = m.Public, m.QuotaFiles, m.QuotaBytes
	s.Fence = movedSetting + m.StoreID
	stored, err := askUser[*messages.MediaStored](ctx, m, userID, s)
	var refused *mxerr.Error
	switch {
	case err == nil && stored.Blob != o.name, errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
		m.discard(ctx, o.name)
	}
	return stored.GetBlob(), err // after any other error the fate is open; an object that nothing uses is found later
}

func (m *Repository) refuseQuarantined(ctx context.Context, sha256 []byte) error {
	_, is, err := schema.Quarantines.Get(ctx, m.Rows, schema.Quarantine{SHA256: sha256})
	if err == nil && is {
		err = mxerr.Forbidden("this server does not accept this file")
	}
	return err
}

// same finds an object with the same content that is really there.
func (m *Repository) same(ctx context.Context, sha256 []byte, size int64) (string, error) {
	for row, err := range schema.BlobsByHash.Scan(ctx, m.Rows, persistence.Range[schema.BlobByHash]{Prefix: schema.BlobByHash{SHA256: sha256}, Keys: 1}) {
		if err != nil {
			return "", err
		}
		_, released, err := schema.BlobReleases.Get(ctx, m.Rows, schema.BlobRelease{Name: row.Name})
		if err != nil {
			return "", err
		}
		if released {
			continue
		}
		switch info, err := m.Blobs.Stat(ctx, row.Name); {
		case err == nil && info.Size == size:
			return row.Name, nil
		case err != nil && !errors.Is(err, blobs.ErrNotFound):
			return "", err
		}
	}
	return "", nil
}

// discard deletes an object that nothing uses. If it cannot be deleted now, Sweep does it later.
func (m *Repository) discard(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := m.Blobs.Delete(ctx, name); err != nil {
		m.Log.Warn("an object without use could not be deleted yet", "object", name, "error", err)
	}
}

// The least pace of an upload, after its beginning: slower ones hold connections, not files.
const (
	paceFrom = 30 * time.Second
	paceLow  = 2 << 10 // bytes per second
)

// steady refuses a body that trickles.
type steady struct {
	r     io.Reader
	since time.Time
	size  int64
}

// Read implements io.Reader.
func (s *steady) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.size += int64(n)
	if spent := time.Since(s.since); err == nil && spent > paceFrom && s.size < int64((spent-paceFrom).Seconds()*paceLow) {
		return n, mxerr.New(http.StatusRequestTimeout, "M_UNKNOWN", "the file came too slowly")
	}
	return n, err
}
