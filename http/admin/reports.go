package admin

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Report is what a user has reported: an event (room, event and its sender), a room, or a user. What does not apply is absent.
type Report struct {
	ID       string `json:"id"`
	Reporter string `json:"reporter"`
	TS       int64  `json:"ts"` // ms
	RoomID   string `json:"room_id,omitzero"`
	EventID  string `json:"event_id,omitzero"`
	UserID   string `json:"user_id,omitzero"`
	Reason   string `json:"reason"`
}

// Reports is a page of reports, newest first.
type Reports struct {
	Reports []Report `json:"reports"`
	Next    string   `json:"next,omitzero"` // the from of the next page
}

// Reports lists what users have reported.
func (o Operator) Reports(ctx context.Context, p Page) (Reports, error) {
	if p.From != "" {
		if _, err := reportPos(p.From); err != nil {
			return Reports{}, err
		}
	}
	rows, next, err := collect(ctx, o.Store, schema.Reports, persistence.Range[schema.Report]{Reverse: true}, p, false,
		func(id string) schema.Report {
			pos, _ := reportPos(id) // checked above
			return schema.Report{Pos: pos}
		},
		func(row schema.Report) (string, bool) {
			return strconv.FormatUint(row.Pos, 10), p.matches(row.ReporterID, row.RoomID, row.EventID, row.UserID, row.Reason)
		})
	if err != nil {
		return Reports{}, err
	}
	list := Reports{Reports: make([]Report, len(rows)), Next: next}
	for i, row := range rows {
		list.Reports[i] = Report{strconv.FormatUint(row.Pos, 10), row.ReporterID, row.TS, row.RoomID, row.EventID, row.UserID, row.Reason}
	}
	return list, nil
}

// CloseReport deletes a report that has been dealt with.
func (o Operator) CloseReport(ctx context.Context, by By, report string) error {
	pos, err := reportPos(report)
	if err != nil {
		return err
	}
	row, ok, err := schema.Reports.Get(ctx, o.Store, schema.Report{Pos: pos})
	if err != nil {
		return err
	}
	if !ok {
		return mxerr.NotFound("there is no report %d", pos)
	}
	_, err = o.Node.Ask(ctx, cluster.Identity{Kind: cluster.KindUser, ID: row.ReporterID}, &messages.CloseReport{Pos: pos})
	o.note(ctx, by, "a report is closed", err, slog.Uint64("report", pos))
	return err
}

func (h handler) listReports(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	return h.Reports(r.Ctx, p)
}

func (h handler) closeReport(r *api.Request) (any, error) {
	return nil, h.CloseReport(r.Ctx, By(r.User()), r.Vars["report"])
}

func reportPos(id string) (uint64, error) {
	pos, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0, mxerr.New(http.StatusBadRequest, "M_INVALID_PARAM", "%.64q is no id of a report", id)
	}
	return pos, nil
}
