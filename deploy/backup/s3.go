package backup

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"fleet.nationtech.io/eventlog/pause"
)

const schemeS3 = "s3://"

// The environment of an S3-compatible store: the names that other tools for S3 read.
const (
	EnvEndpoint   = "AWS_ENDPOINT_URL_S3" // or AWS_ENDPOINT_URL; without either Amazon's own
	envEndpoint   = "AWS_ENDPOINT_URL"
	EnvRegion     = "AWS_REGION"
	EnvAccessKey  = "AWS_ACCESS_KEY_ID"
	EnvSecretKey  = "AWS_SECRET_ACCESS_KEY"
	envToken      = "AWS_SESSION_TOKEN"
	EnvFile       = "AWS_SHARED_CREDENTIALS_FILE"
	EnvProfile    = "AWS_PROFILE"
	EnvCA         = "AWS_CA_BUNDLE"
	envWebToken   = "AWS_WEB_IDENTITY_TOKEN_FILE"
	amazon        = "https://s3.amazonaws.com"
	defaultRegion = "us-east-1"
)

// How the store is asked.
const (
	partSize = 16 << 20
	retries  = 4
	// silence is how long a connection may carry nothing.
	silence = time.Minute
	// cuts is how often in a row a download may be cut without a byte in between.
	cuts = 4
)

// s3 is a bucket of a store, below a prefix.
type s3 struct {
	client         *minio.Client
	transport      *transport
	bucket, prefix string
	host           string
}

var _ Place = (*s3)(nil)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Errors of a store's settings.
var (
	// ErrSettings says that the URL or the environment of a store is wrong.
	ErrSettings = errors.New("settings of the store")
	// ErrCredentials says that there are no credentials for the store.
	ErrCredentials = errors.New("no credentials for the store")
)

func newS3(text string, getenv func(string) string) (*s3, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(text, schemeS3), "/")
	if !bucketName.MatchString(bucket) {
		return nil, fmt.Errorf("%w: %q is not of the form s3://bucket/prefix", ErrSettings, text)
	}
	endpoint := cmp.Or(getenv(EnvEndpoint), getenv(envEndpoint), amazon)
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("%w: $%s is no URL of the form https://s3.example.org", ErrSettings, EnvEndpoint)
	}
	t, err := transportOf(getenv(EnvCA))
	if err != nil {
		return nil, err
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentialsOf(getenv), Secure: u.Scheme == "https", Region: cmp.Or(getenv(EnvRegion), getenv("AWS_DEFAULT_REGION"), defaultRegion),
		Transport: t, MaxRetries: retries,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return &s3{client: client, transport: t, bucket: bucket, prefix: strings.Trim(prefix, "/"), host: u.Host}, nil
}

// credentialsOf are those of the environment, of a file, or of the pod's own identity.
func credentialsOf(getenv func(string) string) *credentials.Credentials {
	switch {
	case getenv(EnvAccessKey) != "":
		return credentials.NewStaticV4(getenv(EnvAccessKey), getenv(EnvSecretKey), getenv(envToken))
	case getenv(envWebToken) != "" && getenv(EnvFile) == "":
		return credentials.New(provider{&credentials.IAM{}, "the pod's identity ($" + envWebToken + ")"})
	}
	where := "$" + EnvAccessKey + " is not set, and the file of credentials"
	if p := getenv(EnvProfile); p != "" {
		where += ", profile " + p
	}
	return credentials.New(provider{&credentials.FileAWSCredentials{Filename: getenv(EnvFile), Profile: getenv(EnvProfile)}, where})
}

// provider says of an error that credentials are the trouble, and where they were looked
// for.
type provider struct {
	credentials.Provider
	where string
}

func (p provider) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := p.Provider.RetrieveWithCredContext(cc)
	if err != nil {
		return v, fmt.Errorf("%w: %s: %w", ErrCredentials, p.where, err)
	}
	return v, nil
}

// transport gives up a connection over which nothing comes, however it hangs.
type transport struct {
	*http.Transport
	silence time.Duration
}

func transportOf(ca string) (*transport, error) {
	base, err := minio.DefaultTransport(true)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	t := &transport{base, silence}
	t.IdleConnTimeout = silence / 4 // before the connection gives itself up
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatient{c, t.silence}, nil
	}
	if ca == "" {
		return t, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("%w: $%s: %w", ErrSettings, EnvCA, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: $%s: %s has no certificate", ErrSettings, EnvCA, ca)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// impatient ends a connection that carries nothing, neither in nor out, for too long:
// while a large part is sent no answer comes.
type impatient struct {
	net.Conn
	silence time.Duration
}

func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (s *s3) String() string { return schemeS3 + path.Join(s.bucket, s.prefix) + " at " + s.host }

func (s *s3) key(name string) string { return path.Join(s.prefix, name) }

// Put implements Place: an object is there whole or not at all.
func (s *s3) Put(ctx context.Context, name, file string, progress func(done, total uint64)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	total := sizeOf(f)
	o := minio.PutObjectOptions{
		ContentType: "application/x-tar", PartSize: partSize, NumThreads: 1, Progress: &meter{total: total, report: progress},
		// Each part has its MD5 in a header, which the store checks. The alternative, bodies
		// signed in chunks, not all stores understand for parts.
		SendContentMd5: true, DisableContentSha256: true,
	}
	_, err = s.client.PutObject(ctx, s.bucket, s.key(name), f, int64(total), o)
	return s.explain("store "+name, err)
}

// meter counts what is sent; minio reads as much of it.
type meter struct {
	done, total uint64
	report      func(done, total uint64)
}

func (m *meter) Read(p []byte) (int, error) {
	m.done += uint64(len(p))
	if m.report != nil {
		m.report(min(m.done, m.total), m.total)
	}
	return len(p), nil
}

// Get implements Place. Where the connection is cut in the middle, it goes on from
// there, as long as the object is the same.
func (s *s3) Get(ctx context.Context, name string, w io.Writer, progress func(done, total uint64)) error {
	info, err := s.client.StatObject(ctx, s.bucket, s.key(name), minio.StatObjectOptions{})
	if err != nil {
		return s.explain("look at "+name, err)
	}
	at, fruitless := int64(0), 0
	for at < info.Size {
		n, writing, err := s.getFrom(ctx, name, info, at, w, progress)
		at += n
		switch {
		case writing != nil:
			return writing
		case err == nil || at == info.Size:
			continue
		case n > 0:
			fruitless = 0
		default:
			fruitless++
		}
		err = s.explain("fetch "+name, err)
		if again := errors.Is(err, ErrUnreachable) || errors.Is(err, ErrFailed); !again || ctx.Err() != nil || fruitless == cuts {
			return err
		}
		if !pause.For(ctx, time.Duration(fruitless+1)*200*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

func (s *s3) getFrom(ctx context.Context, name string, info minio.ObjectInfo, at int64, w io.Writer, progress func(done, total uint64)) (n int64, writing, err error) {
	o := minio.GetObjectOptions{}
	if at > 0 {
		if err := o.SetRange(at, info.Size-1); err != nil {
			return 0, nil, err
		}
	}
	if err := o.SetMatchETag(info.ETag); err != nil {
		return 0, nil, err
	}
	core := minio.Core{Client: s.client}
	body, _, _, err := core.GetObject(ctx, s.bucket, s.key(name), o)
	if err != nil {
		return 0, nil, err
	}
	defer body.Close()
	in := &counted{ctx: ctx, r: io.LimitReader(body, info.Size-at), done: uint64(at), total: uint64(info.Size), report: progress}
	out := &sink{w: w}
	n, err = io.Copy(out, in)
	if err == nil && at+n < info.Size {
		err = io.ErrUnexpectedEOF
	}
	return n, out.err, err
}

// sink tells an error of what is written to from one of what is read.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// List implements Place.
func (s *s3) List(ctx context.Context) ([]File, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dir := ""
	if s.prefix != "" {
		dir = s.prefix + "/"
	}
	var all []File
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: dir}) {
		if o.Err != nil {
			return nil, s.explain("list", o.Err)
		}
		if name := strings.TrimPrefix(o.Key, dir); name != "" && !strings.Contains(name, "/") {
			all = append(all, File{name, o.Size, o.LastModified})
		}
	}
	return all, nil
}

// Remove implements Place.
func (s *s3) Remove(ctx context.Context, name string) error {
	return s.explain("remove "+name, s.client.RemoveObject(ctx, s.bucket, s.key(name), minio.RemoveObjectOptions{}))
}

// explain says in whose part an error is. The store's own words come last.
func (s *s3) explain(what string, err error) error {
	var path *os.PathError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrCredentials):
		return fmt.Errorf("%s: %s: %w", s, what, err)
	case errors.As(err, &path):
		return err
	}
	var said minio.ErrorResponse
	if !errors.As(err, &said) || said.StatusCode == 0 && said.Code == "" {
		return fmt.Errorf("%s: %s: %w: %w", s, what, ErrUnreachable, err)
	}
	var kind error
	switch {
	case said.Code == "NoSuchBucket":
		kind = ErrNoPlace
	case said.Code == "NoSuchKey":
		kind = ErrMissing
	case said.StatusCode == http.StatusNotFound && said.Code == "NotFound":
		kind = ErrMissing
	case said.StatusCode == http.StatusForbidden, said.StatusCode == http.StatusUnauthorized:
		kind = ErrDenied
	case said.StatusCode > 0 && said.StatusCode < http.StatusInternalServerError:
		return fmt.Errorf("%s: %s: it answered %s: %w", s, what, answer(said), err)
	default:
		return fmt.Errorf("%s: %s: %w: it answered %s: %w", s, what, ErrFailed, answer(said), err)
	}
	return fmt.Errorf("%s: %s: %w: %w", s, what, kind, err)
}

// answer is the status of an answer; the code of one that began well.
func answer(said minio.ErrorResponse) string {
	if said.StatusCode == 0 {
		return said.Code
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", said.StatusCode, http.StatusText(said.StatusCode)))
}
