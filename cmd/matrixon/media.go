package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/cmd/matrixon/server"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/media"
)

type mediaCommand struct {
	List       mediaList       `cmd:"" help:"List what a user has uploaded, newest first."`
	Quarantine mediaQuarantine `cmd:"" help:"Keep a file from everyone, or all files of a user."`
	Delete     mediaDelete     `cmd:"" help:"Delete a file, or all files of a user, for good."`
	Move       mediaMove       `cmd:"" help:"Move all files to another store, such as from the folder to S3."`
}

// files is the path of one file, or of all those of a user.
func files(what string) (string, error) {
	if uri, ok := strings.CutPrefix(what, "mxc://"); ok {
		server, mediaID, ok := strings.Cut(uri, "/")
		if !ok {
			return "", fmt.Errorf("%q is not like mxc://example.org/abc", what)
		}
		return "/media/" + url.PathEscape(server) + "/" + url.PathEscape(mediaID), nil
	}
	if !strings.HasPrefix(what, "@") {
		return "", fmt.Errorf("%q is neither a file, as in mxc://example.org/abc, nor a user, as in @alice:example.org", what)
	}
	return "/users/" + url.PathEscape(what) + "/media", nil
}

type mediaList struct {
	configFlags
	User string `arg:"" help:"The user, as in @alice:example.org."`
}

// Run prints the files.
func (c mediaList) Run(ctx context.Context, m *Main) error {
	path, err := files(c.User)
	if err != nil {
		return err
	}
	return c.operate(ctx, m, func(do doer) error {
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		for from := ""; ; {
			var page admin.Files
			if err := ask(ctx, do, http.MethodGet, path+"?limit=1000&from="+url.QueryEscape(from), nil, &page); err != nil {
				return err
			}
			for _, f := range page.Files {
				state := ""
				if f.Quarantined {
					state = "quarantined"
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%q\t%s\n", f.URI, time.UnixMilli(f.CreatedTS).UTC().Format(time.DateTime), f.Size, f.Type, f.Filename, state)
			}
			if from = page.Next; from == "" {
				return w.Flush()
			}
		}
	})
}

type mediaQuarantine struct {
	configFlags
	What    string `arg:"" help:"A file, as in mxc://example.org/abc, or a user, as in @alice:example.org."`
	Release bool   `help:"Give it free again."`
}

// Run quarantines what is named.
func (c mediaQuarantine) Run(ctx context.Context, m *Main) error {
	return c.changeFiles(ctx, m, c.What, http.MethodPost, "/quarantine", map[string]bool{"quarantined": !c.Release})
}

type mediaDelete struct {
	configFlags
	What string `arg:"" help:"A file, as in mxc://example.org/abc, or a user, as in @alice:example.org."`
}

// Run deletes what is named.
func (c mediaDelete) Run(ctx context.Context, m *Main) error {
	return c.changeFiles(ctx, m, c.What, http.MethodDelete, "", nil)
}

func (f configFlags) changeFiles(ctx context.Context, m *Main, what, method, suffix string, body any) error {
	path, err := files(what)
	if err != nil {
		return err
	}
	return f.operate(ctx, m, func(do doer) error {
		var changed admin.FilesChanged
		if err := ask(ctx, do, method, path+suffix, body, &changed); err != nil {
			return err
		}
		fmt.Fprintf(m.Stdout, "%d files\n", changed.Files)
		return nil
	})
}

type mediaMove struct {
	configFlags
	From string `placeholder:"STORE" help:"Where the files are: file, database or s3. By default the store that is configured."`
	To   string `required:"" placeholder:"STORE" help:"Where they go: file, database or s3, with the keys of the configuration."`
}

// Run moves the files and tells how far it is.
func (c mediaMove) Run(ctx context.Context, m *Main) error {
	conf, _, err := c.load(m)
	if err != nil {
		return err
	}
	if c.From == "" {
		c.From = conf.MediaStore()
	}
	for _, store := range []string{c.From, c.To} {
		if store != config.MediaFile && store != config.MediaDatabase && store != config.MediaS3 {
			return fmt.Errorf("%q is none of file, database, s3", store)
		}
	}
	if c.From == c.To {
		return errors.New("the files are there already; name the other store with --from")
	}
	told := time.Now()
	var last media.Progress
	tell := func() {
		fmt.Fprintf(m.Stderr, "%d of %d files, %.1f MiB\n", last.Objects, last.Total, float64(last.Bytes)/(1<<20))
	}
	quiet := slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err = server.MoveMedia(ctx, conf, server.Options{Version: buildInfo().Version, Log: quiet}, c.From, c.To, func(p media.Progress) {
		if last = p; time.Since(told) > time.Second {
			told = time.Now()
			tell()
		}
	})
	if err != nil {
		return err
	}
	tell()
	fmt.Fprintf(m.Stdout, "the files are in %s now: set media.store to it before the next start\n", c.To)
	return nil
}
