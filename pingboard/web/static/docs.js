// Starts Swagger UI. A file, because the page's policy forbids inline scripts.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // Swagger UI would ask validator.swagger.io, and nothing is loaded from another site.
  validatorUrl: null,
});
