package local

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// S3 is a server of the S3 protocol that keeps its objects below a folder.
type S3 struct {
	URL, Bucket          string
	AccessKey, SecretKey string

	process *Process
}

// StartS3 starts a server with an empty bucket. The first time on a machine without one it takes minutes to build it.
func StartS3(ctx context.Context, dir string, out io.Writer) (*S3, error) {
	program, err := script(ctx, "s3.sh")
	if err != nil {
		return nil, err
	}
	s := &S3{Bucket: "media", AccessKey: "matrixon", SecretKey: "not-a-secret"}
	objects, about := filepath.Join(dir, "objects"), filepath.Join(dir, "about")
	for _, d := range []string{filepath.Join(objects, s.Bucket), about} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.URL = "http://" + address
	command := exec.Command(program, "--quiet", "--keep-alive", "--port", address, "posix", "--sidecar", about, objects)
	command.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	if s.process, err = start("s3", command, out); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return s, s.process.poll(ctx, func(ctx context.Context) error {
		// That it can be connected to says little: it resets connections for a moment before it answers. A refusal is an answer.
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	})
}

// Stop kills the server.
func (s *S3) Stop() { s.process.Kill() }
