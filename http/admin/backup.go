package admin

import (
	"log/slog"
	"path/filepath"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Backup is what a backup has.
type Backup struct {
	Folder   string `json:"folder"`
	Position uint64 `json:"position"` // everything up to this commit is in it
	Files    int64  `json:"files"`    // uploaded ones
	Bytes    int64  `json:"bytes"`    // of the uploaded files
}

// backup is for the socket alone: who may choose a folder on the machine is its operator, and not every administrator of the server.
func (h handler) backup(r *api.Request) (any, error) {
	var body struct {
		Folder string `json:"folder"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(body.Folder) {
		return nil, mxerr.InvalidParam("folder must be an absolute path")
	}
	made, err := h.Operator.Backup(r.Ctx, filepath.Clean(body.Folder))
	h.note(r.Ctx, "", "a backup is made", err, slog.String("folder", body.Folder))
	return made, err
}
