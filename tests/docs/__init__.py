"""What the tests of the documentation share: its blocks and links, the product's reasons, what a kubelet would project."""
