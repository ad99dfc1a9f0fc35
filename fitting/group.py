"""Several photos of one person fitted together: each its own pose and expression, all the same identity."""

import numpy as np

from prnet.fitting.solver import ModelPoints, Observation, Rules, Solution, bounded_minimum, solve

ROUNDS = 2


def solve_group(points: ModelPoints, observations: list[Observation], rules: Rules) -> list[Solution]:
    """Fits of photos of one person that share the identity which all of them together make likeliest."""
    solutions = [solve(points, observation, rules) for observation in observations]
    if len(observations) == 1:
        return solutions
    for _ in range(ROUNDS):
        identity = shared_identity(points, solutions)
        solutions = [solve(points, observation, rules, identity) for observation in observations]
    return solutions


def shared_identity(points: ModelPoints, solutions: list[Solution]) -> np.ndarray:
    """(I,): every photo's normal equation for identity, its pose and expression eliminated, summed with the prior."""
    count = points.identity_count
    normal = sum(solution.information for solution in solutions) + np.diag(points.prior[:count] ** 2)
    evidence = sum(solution.evidence for solution in solutions)
    first = np.mean([solution.coefficients[:count] for solution in solutions], axis=0)
    return bounded_minimum(normal, evidence, first, np.ones(count, bool), points.lower[:count], points.upper[:count])
