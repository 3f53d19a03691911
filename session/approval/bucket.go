package approval

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
)

var errNoLock = errors.New("only S3 buckets can lock what is written to them: leave the lock of recordings empty, or use s3://")

func openBucket(ctx context.Context, dir, bucketURL string) (*blob.Bucket, error) {
	if bucketURL != "" {
		b, err := blob.OpenBucket(ctx, bucketURL)
		if err != nil {
			return nil, fmt.Errorf("opening the recordings bucket: %w", err)
		}
		return b, nil
	}
	blobDir := filepath.Join(dir, "recordings")
	if err := os.MkdirAll(blobDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the recordings folder: %w", err)
	}
	b, err := fileblob.OpenBucket(blobDir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, fmt.Errorf("opening the recordings folder: %w", err)
	}
	return b, nil
}

// bucketTimeout bounds the questions that are asked at start.
const bucketTimeout = 20 * time.Second

// checkLock refuses a bucket that does not lock what is written to it, though it
// is asked for: better at start than with the first piece.
func checkLock(ctx context.Context, b *blob.Bucket, bucketURL string, lock time.Duration) error {
	if lock <= 0 {
		return nil
	}
	var client *s3.Client
	u, err := url.Parse(bucketURL)
	if err != nil || !b.As(&client) {
		return errNoLock
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	name := u.Host
	out, err := client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &name})
	if err != nil {
		return fmt.Errorf("asking whether bucket %s locks objects: %w", name, err)
	}
	if out.ObjectLockConfiguration == nil || out.ObjectLockConfiguration.ObjectLockEnabled != s3types.ObjectLockEnabledEnabled {
		return fmt.Errorf("bucket %s does not lock objects: make one with object lock, or leave the lock of recordings empty", name)
	}
	return nil
}
