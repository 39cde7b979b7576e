"""A web site in a ConfigMap. Try `operatorkit dev examples/01_website.py`."""

from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, Operator, Resource, Rule


class WebsiteSpec(Model):
    class_rules = (Rule("size(self.title) > 0", message="give the site a title"),)
    title: str
    pages: dict[str, str] = {}


class WebsiteStatus(Model):
    pages: int = 0


class Website(Resource[WebsiteSpec, WebsiteStatus], group="example.io", version="v1"):
    """A web site, kept in a ConfigMap of the same name."""


app = Operator("website")


@app.reconcile(Website, owns=[V1ConfigMap])
async def reconcile(site: Website, ctx: Context) -> None:
    title, pages = site.spec.title, site.spec.pages.items()
    files = {f"{name}.html": f"<h1>{title}</h1>{text}" for name, text in pages}
    await ctx.apply(V1ConfigMap(metadata={"name": site.metadata.name}, data=files))
    site.status.pages = len(files)
