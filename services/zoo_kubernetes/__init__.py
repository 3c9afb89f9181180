"""What a Kubernetes cluster needs beside the manifests: the credentials that its services share."""
