package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// htmx is of version 2.0.11, unchanged; its licence stands beside it in htmx-LICENSE.txt.
//
//go:embed static
var staticFiles embed.FS

// edition names the contents of all static files: it stands in their addresses, so that browsers may keep them for ever.
var edition = func() string {
	sum := sha256.New()
	err := fs.WalkDir(staticFiles, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := staticFiles.ReadFile(name)
		sum.Write(content) // never fails
		return err
	})
	if err != nil {
		panic(err) // the files are part of the program
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}()

// static serves a file to anybody: nothing in it is secret.
func static(r *api.Request) (any, error) {
	name := r.Vars["file"]
	content, err := staticFiles.ReadFile(path.Join("static", path.Base(name)))
	if err != nil {
		return nil, mxerr.NotFound("there is no file %.64q", name)
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		guard(w.Header())
		w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		_, _ = w.Write(content) // the browser is gone when this fails
		return nil
	}), nil
}
