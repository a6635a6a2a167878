package admin

import (
	"log/slog"
	"net/http"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// File is what an mxc:// URI names. What is not known is absent.
type File struct {
	URI         string `json:"uri"`
	UserID      string `json:"user_id,omitzero"`
	Origin      string `json:"origin"` // upload, preview or remote
	CreatedTS   int64  `json:"created_ts"`
	ExpiresTS   int64  `json:"expires_ts,omitzero"`  // of an id whose content has not come
	AccessedTS  int64  `json:"accessed_ts,omitzero"` // to the day
	Size        int64  `json:"size"`
	Type        string `json:"type,omitzero"`
	Filename    string `json:"filename,omitzero"`
	Quarantined bool   `json:"quarantined"`
}

// Files is a page of what a user has uploaded, newest first, and how much it is in all.
type Files struct {
	Files []File `json:"files"`
	Count int64  `json:"count"`
	Bytes int64  `json:"bytes"`
	Next  string `json:"next,omitzero"` // the from of the next page
}

// FilesChanged says how many files were dealt with.
type FilesChanged struct {
	Files int `json:"files"`
}

func showFile(f media.File) File {
	shown := File{URI: "mxc://" + f.Server + "/" + f.MediaID, UserID: f.UserID, Origin: f.Origin, CreatedTS: f.CreatedTS, ExpiresTS: f.ExpiresTS,
		AccessedTS: f.AccessedTS, Size: f.Size, Type: f.Type, Quarantined: f.Quarantined}
	if f.Filename != nil {
		shown.Filename = *f.Filename
	}
	return shown
}

// media are the operations on files; none when the node serves none.
func (h handler) media() []api.Endpoint {
	if h.Media == nil {
		return nil
	}
	at := func(method, path string, limit api.Limit, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{method}, Path: Base + path, Auth: api.Admins, Limit: limit, MaxBody: maxBody, Handler: f}
	}
	const one, ofUser = "/media/{server}/{media}", "/users/{user}/media"
	return []api.Endpoint{
		at(http.MethodGet, one, api.LimitRead, h.getFile),
		at(http.MethodDelete, one, api.LimitAccount, h.deleteFile),
		at(http.MethodPost, one+"/quarantine", api.LimitAccount, h.quarantineFile),
		at(http.MethodGet, ofUser, api.LimitRead, h.listFiles),
		at(http.MethodDelete, ofUser, api.LimitAccount, h.deleteFiles),
		at(http.MethodPost, ofUser+"/quarantine", api.LimitAccount, h.quarantineFiles),
	}
}

func (h handler) file(r *api.Request) (media.File, error) {
	return h.Media.Lookup(r.Ctx, r.Vars["server"], r.Vars["media"])
}

func (h handler) getFile(r *api.Request) (any, error) {
	f, err := h.file(r)
	return showFile(f), err
}

func (h handler) deleteFile(r *api.Request) (any, error) {
	f, err := h.file(r)
	if err != nil {
		return nil, err
	}
	err = h.Media.Delete(r.Ctx, f.Media)
	h.note(r.Ctx, By(r.User()), "a file is deleted", err, slog.String("media", r.Vars["server"]+"/"+r.Vars["media"]))
	return FilesChanged{1}, err
}

func (h handler) quarantineFile(r *api.Request) (any, error) {
	on, err := quarantined(r)
	if err != nil {
		return nil, err
	}
	f, err := h.file(r)
	if err != nil {
		return nil, err
	}
	err = h.Media.Quarantine(r.Ctx, on, f.Media)
	h.note(r.Ctx, By(r.User()), "a file is quarantined", err, slog.String("media", r.Vars["server"]+"/"+r.Vars["media"]), slog.Bool("quarantined", on))
	return FilesChanged{1}, err
}

// quarantined reads the body {"quarantined": true or false}.
func quarantined(r *api.Request) (bool, error) {
	var body struct {
		Quarantined *bool `json:"quarantined"`
	}
	if err := r.Decode(&body); err != nil {
		return false, err
	}
	if body.Quarantined == nil {
		return false, mxerr.MissingParam("quarantined is required: true or false")
	}
	return *body.Quarantined, nil
}

// owner reads the user of the path, who must have an account, be it one that has ended.
func (h handler) owner(r *api.Request) (string, error) {
	userID := r.Vars["user"]
	if _, _, err := id.ParseUser(userID); err != nil {
		return "", mxerr.InvalidParam("%.255q is no user id: %v", userID, err)
	}
	_, there, err := schema.Accounts.Get(r.Ctx, h.Store, schema.Account{UserID: userID})
	if err == nil && !there {
		err = mxerr.NotFound("there is no account %s on this server", userID)
	}
	return userID, err
}

func (h handler) listFiles(r *api.Request) (any, error) {
	userID, err := h.owner(r)
	if err != nil {
		return nil, err
	}
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	limit := int(p.Limit)
	files, usage, err := h.Media.OfUser(r.Ctx, userID, p.From, limit+1)
	if err != nil {
		return nil, err
	}
	list := Files{Files: []File{}, Count: usage.Files, Bytes: usage.Bytes}
	if len(files) > limit {
		files = files[:limit]
		list.Next = files[limit-1].MediaID
	}
	for _, f := range files {
		list.Files = append(list.Files, showFile(f))
	}
	return list, nil
}

func (h handler) deleteFiles(r *api.Request) (any, error) {
	userID, err := h.owner(r)
	if err != nil {
		return nil, err
	}
	n, err := h.Media.DeleteUser(r.Ctx, userID)
	h.note(r.Ctx, By(r.User()), "all files of a user are deleted", err, slog.String("user", userID), slog.Int("files", n))
	return FilesChanged{n}, err
}

func (h handler) quarantineFiles(r *api.Request) (any, error) {
	on, err := quarantined(r)
	if err != nil {
		return nil, err
	}
	userID, err := h.owner(r)
	if err != nil {
		return nil, err
	}
	n, err := h.Media.QuarantineUser(r.Ctx, on, userID)
	h.note(r.Ctx, By(r.User()), "all files of a user are quarantined", err, slog.String("user", userID), slog.Int("files", n), slog.Bool("quarantined", on))
	return FilesChanged{n}, err
}
