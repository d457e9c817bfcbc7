"""The optimizer does what its users expect: `optimzoo vet` measures it."""

from optimzoo.vetting import vet


def test_it_has_no_fault():
    assert not vet("optimzoo_example_plugin.sign_descent:SignDescent", lr=1e-3).faults
