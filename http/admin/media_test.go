package admin_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMedia(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, root := w.Register("alice"), w.Register("bob"), w.Register("root")
	w.Write(schema.Accounts.Put(schema.Account{UserID: root.ID, Admin: true}))
	a := api.New(api.Options{Auth: w.Tokens, Log: slog.New(slog.DiscardHandler), Now: w.Clock.Now})
	a.Add(api.Admin, admin.Endpoints(admin.Deps{ServerName: clienttest.ServerName, Store: w.Store, Node: w.Node, Sessions: w.Tokens, Media: w.Media, Log: slog.New(slog.DiscardHandler)})...)
	server := httptest.NewServer(a.Handler(api.Admin))
	defer server.Close()
	ask := func(u *clienttest.User, method, path, body string, status int) gjson.Result {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+admin.Base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+u.Token)
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%s %s: %d %s %v, want %d", method, path, resp.StatusCode, raw, err, status)
		}
		checkDescribed(t, method, path, resp.StatusCode, raw)
		return gjson.ParseBytes(raw)
	}
	upload := func(u *clienttest.User, content string) string {
		t.Helper()
		w.Clock.Advance(1e9)
		return strings.TrimPrefix(u.Post("/_matrix/media/v3/upload?filename=f", `"`+content+`"`).OK().At("content_uri").Str, "mxc://")
	}
	const downloads = "/_matrix/client/v1/media/download/"
	first, second, same := upload(alice, "one"), upload(alice, "two"), upload(bob, "one")

	page := ask(root, "GET", clienttest.Path("users", alice.ID, "media")+"?limit=1", "", 200)
	if page.Get("count").Int() != 2 || page.Get("bytes").Int() != 10 || page.Get("files.#").Int() != 1 || page.Get("files.0.uri").Str != "mxc://"+second {
		t.Errorf("the first page: %s", page)
	}
	page = ask(root, "GET", clienttest.Path("users", alice.ID, "media")+"?limit=1&from="+page.Get("next").Str, "", 200)
	if page.Get("files.0.uri").Str != "mxc://"+first || page.Get("next").Exists() {
		t.Errorf("the second page: %s", page)
	}
	ask(root, "GET", clienttest.Path("users", alice.ID, "media")+"?from=unknown", "", 400)
	ask(root, "GET", clienttest.Path("users", "@nobody:example.org", "media"), "", 404)
	one := ask(root, "GET", "/media/"+first, "", 200)
	if one.Get("user_id").Str != alice.ID || one.Get("filename").Str != "f" || one.Get("size").Int() != 5 || one.Get("quarantined").Bool() {
		t.Errorf("one file: %s", one)
	}
	ask(root, "GET", "/media/example.org/unknown", "", 404)

	// What is kept from everyone is the content, whoever has uploaded it.
	ask(root, "POST", "/media/"+first+"/quarantine", `{"quarantined":true}`, 200)
	alice.Get(downloads+first).Refused(http.StatusNotFound, "M_NOT_FOUND")
	bob.Get(downloads+same).Refused(http.StatusNotFound, "M_NOT_FOUND")
	alice.Get(downloads + second).OK()
	alice.Post("/_matrix/media/v3/upload", `"one"`).Refused(http.StatusForbidden, "M_FORBIDDEN")
	ask(root, "POST", "/media/"+first+"/quarantine", `{"quarantined":false}`, 200)
	alice.Get(downloads + first).OK()
	ask(root, "POST", "/media/"+first+"/quarantine", `{}`, 400)
	if n := ask(root, "POST", clienttest.Path("users", alice.ID, "media", "quarantine"), `{"quarantined":true}`, 200).Get("files").Int(); n != 2 {
		t.Errorf("%d files of the user", n)
	}
	alice.Get(downloads+second).Refused(http.StatusNotFound, "M_NOT_FOUND")
	ask(root, "POST", clienttest.Path("users", alice.ID, "media", "quarantine"), `{"quarantined":false}`, 200)

	ask(root, "DELETE", "/media/"+first, "", 200)
	ask(root, "DELETE", "/media/"+first, "", 404)
	alice.Get(downloads+first).Refused(http.StatusNotFound, "M_NOT_FOUND")
	bob.Get(downloads + same).OK()
	upload(alice, "three")
	if n := ask(root, "DELETE", clienttest.Path("users", alice.ID, "media"), "", 200).Get("files").Int(); n != 2 {
		t.Errorf("%d files were deleted", n)
	}
	if page := ask(root, "GET", clienttest.Path("users", alice.ID, "media"), "", 200); page.Get("count").Int() != 0 || page.Get("bytes").Int() != 0 || page.Get("files.#").Int() != 0 {
		t.Errorf("in the end: %s", page)
	}

	ask(alice, "GET", clienttest.Path("users", alice.ID, "media"), "", 403)
	ask(alice, "DELETE", "/media/"+same, "", 403)
	ask(alice, "POST", "/media/"+same+"/quarantine", `{"quarantined":true}`, 403)
}
