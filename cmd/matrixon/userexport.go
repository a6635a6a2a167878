package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/http/admin"
)

type userExport struct {
	configFlags
	Name string `arg:"" help:"The user."`
}

// Help tells what comes.
func (userExport) Help() string {
	return "One JSON object a line: the account, its profile, addresses, devices, account data, memberships, files, and all events that the user has sent. " +
		"What was encrypted stays so: the server cannot read it. The last line is of the kind end."
}

// Run writes the lines as they come, and checks that the last is there.
func (c userExport) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin"+admin.Base+"/users/"+url.PathEscape(c.Name)+"/export", nil)
		if err != nil {
			return err
		}
		resp, err := do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return refusal(resp)
		}
		var last admin.Record
		for lines := bufio.NewReader(resp.Body); ; {
			line, err := lines.ReadBytes('\n')
			switch {
			case errors.Is(err, io.EOF) && last.Kind == "end":
				return nil
			case err != nil:
				return errors.New("the export was cut off; the log of the server says why")
			}
			if _, err := m.Stdout.Write(line); err != nil {
				return err
			}
			if err := json.Unmarshal(line, &last); err != nil {
				return err
			}
		}
	})
}
