package appservice

import (
	"context"
	"fmt"
	"net/http"

	"github.com/matrixon/matrixon/matrix/appservice"
)

// Send sends a transaction; an error says that it was not acknowledged (application service API, "Pushing events").
func (l *Link) Send(ctx context.Context, r *appservice.Registration, txnID string, body []byte) error {
	const path = "/transactions/"
	answer, err := l.Do(ctx, r, Call{Method: http.MethodPut, Path: path, ID: txnID, Legacy: path, Body: body})
	if err == nil && answer.Status/100 != 2 {
		err = fmt.Errorf("the application service answered %d %s", answer.Status, http.StatusText(answer.Status))
	}
	return err
}
