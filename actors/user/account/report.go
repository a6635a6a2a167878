package account

import (
	"context"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// report stores what the user reports.
func (ops *operations) report(ctx context.Context, o *user.Op, m *messages.ReportContent) (*messages.Done, error) {
	row := schema.Report{ReporterID: o.UserID, TS: o.Now.UnixMilli(), RoomID: m.RoomId, EventID: m.EventId, UserID: m.UserId, Reason: m.Reason}
	_, err := o.Commit(ctx, []persistence.Mutation{schema.Reports.Put(row)}, nil, user.Notices{})
	return &messages.Done{}, err
}

// closeReport deletes a report that has been dealt with.
func (ops *operations) closeReport(ctx context.Context, o *user.Op, m *messages.CloseReport) (*messages.Done, error) {
	row, ok, err := schema.Reports.Get(ctx, o.Store, schema.Report{Pos: m.Pos})
	if err != nil {
		return nil, err
	}
	if !ok || row.ReporterID != o.UserID {
		return nil, mxerr.NotFound("there is no such report")
	}
	_, err = o.Commit(ctx, []persistence.Mutation{schema.Reports.Delete(row)}, nil, user.Notices{})
	return &messages.Done{}, err
}
