package main

import (
	"context"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs/folder"
	"github.com/matrixon/matrixon/persistence/pebble"
	"github.com/matrixon/matrixon/persistence/schema"
)

// withFile puts a file of ann into the data folder of a server that has been run.
func withFile(t *testing.T, dir string) {
	t.Helper()
	if code, _, errs := operate(t, dir, "secret\n", "user", "create", "ann"); code != 0 {
		t.Fatal(errs)
	}
	files, err := folder.Open(dir + "/media")
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Put(t.Context(), "anobject", strings.NewReader("hello"), 5); err != nil {
		t.Fatal(err)
	}
	rows, err := pebble.Open(pebble.Options{Dir: dir + "/pebble"})
	if err != nil {
		t.Fatal(err)
	}
	media := schema.Media{Server: "localhost", MediaID: "abc", UserID: "@ann:localhost", Origin: "upload", Blob: "anobject", SHA256: []byte("x"), Size: 5, StoredTS: 1, CreatedTS: 1}
	_, err = persistence.Await(context.Background(), rows, &persistence.Commit{Write: []persistence.Mutation{
		schema.MediaFiles.Put(media), schema.Blobs.Put(schema.Blob{Name: "anobject", SHA256: media.SHA256, Size: 5}),
		schema.BlobUses.Put(schema.BlobUse{Name: "anobject", Server: "localhost", MediaID: "abc"}),
		schema.MediaOfUsers.Put(schema.MediaByUser{UserID: media.UserID, TS: 1, MediaID: "abc"}),
		schema.MediaUsages.Put(schema.MediaUsage{UserID: media.UserID, Files: 1, Bytes: 5}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMediaCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	withFile(t, dir)
	if code, out, errs := operate(t, dir, "", "media", "list", "@ann:localhost"); code != 0 || !strings.HasPrefix(out, "mxc://localhost/abc  1970-01-01 00:00:00  5 ") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	// A server starts with the store where the files are, and with no other.
	code, out, errs := operate(t, dir, "", "media", "move", "--to", "database")
	if code != 0 || !strings.Contains(out, "set media.store") || !strings.Contains(errs, "1 of 1 files") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := operate(t, dir, "", "media", "list", "@ann:localhost"); code != exitFailed || !strings.Contains(errs, "media.store") {
		t.Errorf("with the old store: exit %d: %s", code, errs)
	}
	if code, _, errs := operate(t, dir, "", "media", "move", "--to", "tape"); code != exitFailed || !strings.Contains(errs, "none of") {
		t.Errorf("an unknown store: exit %d: %s", code, errs)
	}
	database := []string{"--set", "media.store=database"}
	if code, out, errs := operate(t, dir, "", append([]string{"media", "quarantine", "mxc://localhost/abc"}, database...)...); code != 0 || out != "1 files\n" {
		t.Errorf("quarantine: exit %d: %s%s", code, out, errs)
	}
	if _, out, _ := operate(t, dir, "", append([]string{"media", "list", "@ann:localhost"}, database...)...); !strings.Contains(out, "quarantined") {
		t.Errorf("the list reads: %s", out)
	}
	if code, out, errs := operate(t, dir, "", append([]string{"media", "delete", "@ann:localhost"}, database...)...); code != 0 || out != "1 files\n" {
		t.Errorf("delete: exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := operate(t, dir, "", append([]string{"media", "list", "@ann:localhost"}, database...)...); code != 0 || out != "" {
		t.Errorf("the list reads: %s", out)
	}
	if code, _, errs := operate(t, dir, "", append([]string{"media", "delete", "abc"}, database...)...); code != exitFailed || !strings.Contains(errs, "neither a file") {
		t.Errorf("no name: exit %d: %s", code, errs)
	}
}
