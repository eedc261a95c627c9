import ca.uhn.fhir.batch2.api.IJobMaintenanceService;
import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.batch2.jobs.imprt.BulkDataImportProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.IDaoRegistry;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.DatabaseBinaryContentStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HibernatePropertiesProvider;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.config.util.ResourceCountCacheUtil;
import ca.uhn.fhir.jpa.dao.FulltextSearchSvcImpl;
import ca.uhn.fhir.jpa.dao.IFulltextSearchSvc;
import ca.uhn.fhir.jpa.dao.search.HSearchSortHelperImpl;
import ca.uhn.fhir.jpa.dao.search.IHSearchSortHelper;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.DaoRegistryResourceSupportedSvc;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.search.IStaleSearchDeletingSvc;
import ca.uhn.fhir.jpa.search.StaleSearchDeletingSvcImpl;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.match.config.SubscriptionProcessorConfig;
import ca.uhn.fhir.jpa.subscription.match.deliver.email.IEmailSender;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import ca.uhn.fhir.jpa.util.ResourceCountCache;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.IResourceSupportedSvc;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.RequestValidatingInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import ca.uhn.fhir.validation.IValidatorModule;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import com.zaxxer.hikari.HikariDataSource;
import jakarta.persistence.EntityManagerFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.gzip.GzipHandler;
import org.hibernate.dialect.Dialect;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;
import org.springframework.transaction.annotation.EnableTransactionManagement;
import org.springframework.web.context.support.AnnotationConfigWebApplicationContext;

/**
 * A FHIR server for the loopback interface: HAPI FHIR JPA on H2 in an embedded Jetty, set up without Spring Boot.
 *
 * <p>Settings are system properties: fhirspace.release (R4, R4B, R5), fhirspace.port (0: any free one),
 * fhirspace.jdbc (an H2 URL), fhirspace.validate (true or false), fhirspace.ids (false: clients may not make ids),
 * fhirspace.ready (a file that gets the port once requests are answered).
 */
public final class Server {

    public static void main(String[] args) throws Exception {
        Logger root = (Logger) LoggerFactory.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
        root.setLevel(Level.WARN);
        String release = System.getProperty("fhirspace.release", "R4");
        org.eclipse.jetty.server.Server jetty = new org.eclipse.jetty.server.Server();
        ServerConnector connector = new ServerConnector(jetty);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.getInteger("fhirspace.port", 0));
        jetty.addConnector(connector);
        // Bind before the long part: a port that is taken must be told at once.
        connector.open();

        ServletContextHandler handler = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
        handler.setContextPath("/");
        AnnotationConfigWebApplicationContext spring = new AnnotationConfigWebApplicationContext();
        spring.setServletContext(handler.getServletContext());
        // R4B and R5 are named by text: their jars are only on the class path of a server that speaks them.
        spring.register(Class.forName("ca.uhn.fhir.jpa.config." + release.toLowerCase() + ".Jpa" + release + "Config"));
        spring.register(Beans.class);
        spring.refresh();
        handler.addServlet(new ServletHolder(spring.getBean(RestfulServer.class)), "/fhir/*");
        GzipHandler gzip = new GzipHandler();
        gzip.setInflateBufferSize(8192);
        gzip.addIncludedMethods("GET", "POST", "PUT");
        gzip.setHandler(handler);
        jetty.setHandler(gzip);
        jetty.setStopAtShutdown(true);
        jetty.start();
        // HAPI quotes what clients sent when it logs a refusal: from here on nothing is logged, the answer says it all.
        root.setLevel(Level.OFF);
        hurryJobs(spring.getBean(IJobMaintenanceService.class));
        announce(connector.getLocalPort());
        jetty.join();
    }

    /** HAPI moves its jobs ($import, $export) on once a minute; here nobody else is to be spared, and it is done often. */
    private static void hurryJobs(IJobMaintenanceService jobs) {
        ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "jobs");
            thread.setDaemon(true);
            return thread;
        });
        Runnable pass = () -> {
            try {
                jobs.runMaintenancePass();
            } catch (RuntimeException error) {
                // The next pass does it; a timer that is left with an exception would never run again.
            }
        };
        timer.scheduleWithFixedDelay(pass, 1000, 500, TimeUnit.MILLISECONDS);
    }

    private static void announce(int port) throws Exception {
        String file = System.getProperty("fhirspace.ready");
        if (file == null) {
            return;
        }
        Path whole = Path.of(file);
        Path part = Path.of(file + ".part");
        Files.writeString(part, Integer.toString(port));
        Files.move(part, whole, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    /** What the configurations of HAPI ask their user to provide. */
    @Configuration
    @EnableTransactionManagement
    @Import({
        ThreadPoolFactoryConfig.class,
        JpaBatch2Config.class,
        Batch2JobsConfig.class,
        SubscriptionChannelConfig.class,
        SubscriptionSubmitterConfig.class,
        SubscriptionProcessorConfig.class
    })
    public static class Beans {

        @Bean
        public DataSource dataSource() {
            HikariDataSource pool = new HikariDataSource();
            pool.setJdbcUrl(System.getProperty("fhirspace.jdbc"));
            pool.setUsername("sa");
            pool.setPassword("");
            pool.setMaximumPoolSize(20);
            return pool;
        }

        @Bean
        public JpaStorageSettings storageSettings() {
            JpaStorageSettings settings = new JpaStorageSettings();
            boolean ids = Boolean.parseBoolean(System.getProperty("fhirspace.ids", "true"));
            settings.setResourceClientIdStrategy(
                    ids
                            ? JpaStorageSettings.ClientIdStrategyEnum.ALPHANUMERIC
                            : JpaStorageSettings.ClientIdStrategyEnum.NOT_ALLOWED);
            settings.setEnforceReferentialIntegrityOnWrite(true);
            settings.setEnforceReferentialIntegrityOnDelete(true);
            settings.setHibernateSearchIndexFullText(false);
            settings.setEnableTaskBulkExportJobExecution(true);
            settings.setEnableTaskBulkImportJobExecution(true);
            settings.setFetchSizeDefaultMaximum(10000);
            // A table that tells people which search parameter a hash in the index is of: a tenth of the start.
            settings.setWriteToSearchParamIdentityTable(false);
            return settings;
        }

        @Bean
        public PartitionSettings partitionSettings() {
            return new PartitionSettings();
        }

        @Bean
        public SubscriptionSettings subscriptionSettings() {
            return new SubscriptionSettings();
        }

        @Bean
        public IEmailSender emailSender() {
            return details -> {
                throw new UnsupportedOperationException("this server sends no mail");
            };
        }

        @Bean
        public IFulltextSearchSvc fullTextSearch() {
            return new FulltextSearchSvcImpl();
        }

        @Bean
        public IStaleSearchDeletingSvc staleSearches() {
            return new StaleSearchDeletingSvcImpl();
        }

        @Bean
        public IBinaryStorageSvc binaryStorage() {
            return new DatabaseBinaryContentStorageSvcImpl();
        }

        @Bean
        public DatabaseBackedPagingProvider pages() {
            DatabaseBackedPagingProvider pages = new DatabaseBackedPagingProvider();
            pages.setDefaultPageSize(100);
            pages.setMaximumPageSize(1000);
            return pages;
        }

        @Bean
        public IResourceSupportedSvc supportedResources(IDaoRegistry daos) {
            return new DaoRegistryResourceSupportedSvc(daos);
        }

        @Bean(name = "myResourceCountsCache")
        public ResourceCountCache resourceCounts(IFhirSystemDao<?, ?> system) {
            return ResourceCountCacheUtil.newResourceCountCache(system);
        }

        @Bean
        public IHSearchSortHelper sortHelper(ISearchParamRegistry parameters) {
            return new HSearchSortHelperImpl(parameters);
        }

        @Bean
        @Primary
        public LocalContainerEntityManagerFactoryBean entityManagerFactory(
                DataSource source, ConfigurableListableBeanFactory beans, FhirContext fhir, JpaStorageSettings settings) {
            LocalContainerEntityManagerFactoryBean factory =
                    HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
            Properties hibernate = new Properties();
            hibernate.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
            hibernate.put("hibernate.hbm2ddl.auto", "update");
            hibernate.put("hibernate.search.enabled", "false");
            hibernate.put("hibernate.jdbc.batch_size", "50");
            hibernate.put("hibernate.order_inserts", "true");
            hibernate.put("hibernate.order_updates", "true");
            hibernate.put("hibernate.cache.use_query_cache", "false");
            hibernate.put("hibernate.cache.use_second_level_cache", "false");
            factory.setPersistenceUnitName("fhir");
            factory.setDataSource(source);
            factory.setJpaProperties(hibernate);
            return factory;
        }

        @Bean
        @Primary
        public JpaTransactionManager transactionManager(EntityManagerFactory factory) {
            return new JpaTransactionManager(factory);
        }

        @Bean
        @Primary
        public HibernatePropertiesProvider hibernateProperties() {
            return new HibernatePropertiesProvider() {
                private final Dialect dialect = new HapiFhirH2Dialect();

                @Override
                public Dialect getDialect() {
                    return dialect;
                }
            };
        }

        @Bean
        public RestfulServer restfulServer(
                FhirContext fhir,
                IFhirSystemDao<?, ?> system,
                ResourceProviderFactory resources,
                IJpaSystemProvider systemProvider,
                BulkDataExportProvider export,
                BulkDataImportProvider bulkImport,
                DatabaseBackedPagingProvider pages,
                JpaStorageSettings settings,
                ISearchParamRegistry parameters,
                IValidationSupport support,
                IValidatorModule validator) {
            RestfulServer server = new RestfulServer(fhir);
            server.registerProviders(resources.createProviders());
            server.registerProvider(systemProvider);
            server.registerProvider(export);
            server.registerProvider(bulkImport);
            server.setPagingProvider(pages);
            server.setDefaultResponseEncoding(EncodingEnum.JSON);
            server.setServerConformanceProvider(
                    new JpaCapabilityStatementProvider(server, system, settings, parameters, support));
            if (Boolean.getBoolean("fhirspace.validate")) {
                RequestValidatingInterceptor interceptor = new RequestValidatingInterceptor();
                interceptor.setFailOnSeverity(ResultSeverityEnum.ERROR);
                interceptor.setValidatorModules(List.of(validator));
                server.registerInterceptor(interceptor);
            }
            return server;
        }
    }
}
