"""What all tests share: a cache of their own, so that none reads or fills the user's."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTGRAPH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("LATENTGRAPH_STORE", raising=False)
        yield
