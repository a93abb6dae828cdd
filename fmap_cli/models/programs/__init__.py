"""Networks that a file brings whole: TorchScript archives (`.pt`, `.pth`) and torch.export programs (`.pt2`)."""
