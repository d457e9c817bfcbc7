"""A small convolutional network on scikit-learn's handwritten digits: 1 797 images of 8 x 8 pixels."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from optimzoo.wrappers import sampled_cross_entropy

Batch = tuple[Tensor, Tensor]


class SmallCNN(nn.Module):
    def __init__(self, width: int = 32):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.2),
        )
        self.head = nn.Linear(2 * width * 4 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).flatten(1))


def digits(split: str) -> TensorDataset:
    """The images, scaled to 0..1, and labels of the "train" (80 %) or "test" (20 %) part."""
    data = load_digits()
    train, test = train_test_split(range(len(data.target)), test_size=0.2, random_state=0, stratify=data.target)
    chosen = {"train": train, "test": test}[split]
    images = torch.tensor(data.images[chosen], dtype=torch.float32).unsqueeze(1) / 16
    return TensorDataset(images, torch.tensor(data.target[chosen]))


def loss(model: nn.Module, batch: Batch) -> Tensor:
    images, labels = batch
    return functional.cross_entropy(model(images), labels)


def accuracy(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    images, labels = batch
    return {"accuracy": (model(images).argmax(1) == labels).float().mean()}


def curvature(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """For SophiaG: the loss on labels drawn from the model's own predictions, and their number."""
    images, _ = batch
    return sampled_cross_entropy(model(images))
